import { and, eq, notInArray, sql } from "drizzle-orm";
import type { Db } from "./client.ts";
import { enqueueOperation } from "./operations.ts";
import type { Enqueued, OperationKind, OperationRow, StepName } from "./operations.ts";
import { operationSteps, routes, services, tenants } from "./schema.ts";
import type { ChangeWork } from "./schema.ts";

/** Changes of routes and services: what they replace is kept with them until visitors have what is new, and comes back if that fails. */
export const canBeUndone = (kind: OperationKind): boolean => kind === "tenant-routes" || kind === "tenant-services";

/** To be stored with the operation, before it changes anything. Under the lock of the tenant's row. */
export async function whatItReplaces(tx: Db, tenantId: string): Promise<ChangeWork> {
  const rows = await tx.select().from(services).where(eq(services.tenantId, tenantId));
  return {
    before: {
      routes: await tx.select().from(routes).where(eq(routes.tenantId, tenantId)),
      services: rows.map(({ updatedAt: _updatedAt, ...service }) => service),
    },
  };
}

/**
 * A change that failed or was cancelled before its publication is taken back: the rows in the transaction that ends it, so that whatever is
 * published next is what visitors have; node and directory by an operation of its own, as far as the change had begun with them. Null: there is
 * nothing for such an operation to do, or visitors have what is new, and the change can only be carried on.
 */
export async function undoChange(tx: Db, change: OperationRow, now: Date): Promise<Enqueued | null> {
  const tenantId = change.subjectId;
  const [tenant] = await tx.select().from(tenants).where(eq(tenants.id, tenantId)).for("no key update");
  if (tenant === undefined || tenant.state === "deleting") return null;
  if (change.work === null || !("before" in change.work)) return null;
  const steps = await tx.select().from(operationSteps).where(eq(operationSteps.operationId, change.id));
  if (steps.some(({ name, state }) => name === "publish" && state === "done")) return null;
  await bringBack(tx, tenantId, change.work.before, now);
  // A revision of its own: what a slow run of the change still pushes or publishes is older.
  await tx
    .update(tenants)
    .set({ revision: sql`nextval('control.revision')`, updatedAt: now })
    .where(eq(tenants.id, tenantId));
  const hasBegun = (wanted: string): boolean =>
    steps.some(({ name, startedAt }) => name === wanted && startedAt !== null);
  const undo: readonly StepName[] = [
    ...(hasBegun("push") ? (["settle-node"] as const) : []),
    ...(hasBegun("publish") ? (["publish"] as const) : []),
  ];
  if (undo.length === 0) return null;
  return await enqueueOperation(tx, { kind: "tenant-change-undo", subjectId: tenantId, tenantId, now, steps: undo });
}

async function bringBack(tx: Db, tenantId: string, before: ChangeWork["before"], now: Date): Promise<void> {
  await tx.delete(routes).where(eq(routes.tenantId, tenantId));
  if (before.routes.length > 0) await tx.insert(routes).values([...before.routes]);
  const kept = before.services.map(({ workspaceId, name }) => `${workspaceId}/${name}`);
  const isOther = notInArray(sql`${services.workspaceId} || '/' || ${services.name}`, kept);
  await tx.delete(services).where(and(eq(services.tenantId, tenantId), kept.length === 0 ? undefined : isOther));
  for (const service of before.services) {
    const row = { ...service, updatedAt: now };
    await tx
      .insert(services)
      .values(row)
      .onConflictDoUpdate({ target: [services.tenantId, services.workspaceId, services.name], set: row });
  }
}
