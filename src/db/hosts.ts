import { and, asc, eq, isNotNull, isNull, sql } from "drizzle-orm";
import type { Db } from "./client.ts";
import { enqueueOperation, type Enqueued } from "./operations.ts";
import { hostClaims, hosts, tenants } from "./schema.ts";
import type { HostRow } from "./tenants.ts";

/** Hosts that tenants bring: claims and what becomes of them (docs/tenants.md, "Custom hosts"). */
export type HostClaimRow = typeof hostClaims.$inferSelect;

/** A tenant's hosts, those on their way out included. */
export async function allHostsOf(db: Db, tenantId: string): Promise<HostRow[]> {
  return await db.select().from(hosts).where(eq(hosts.tenantId, tenantId)).orderBy(asc(hosts.host));
}

export async function claimsOf(db: Db, tenantId: string): Promise<HostClaimRow[]> {
  return await db.select().from(hostClaims).where(eq(hostClaims.tenantId, tenantId)).orderBy(asc(hostClaims.host));
}

/**
 * Gives a tenant a host that it has proven. `changed: false`: it has it already. Null: another tenant has it, or still has to let go of it.
 * Of two tenants at the same moment the row's key takes one. Under the lock of the tenant's row.
 */
export async function takeHost(
  tx: Db,
  tenantId: string,
  host: string,
  now: Date,
): Promise<{ changed: boolean } | null> {
  const made = await tx
    .insert(hosts)
    .values({ host, tenantId, kind: "custom", createdAt: now })
    .onConflictDoNothing()
    .returning({ host: hosts.host });
  if (made.length > 0) return { changed: true };
  const [held] = await tx.select().from(hosts).where(eq(hosts.host, host)).for("update");
  if (held === undefined || held.tenantId !== tenantId) return null;
  if (held.leavingSince === null) return { changed: false };
  await tx.update(hosts).set({ leavingSince: null, withdrawnAt: null }).where(eq(hosts.host, host));
  return { changed: true };
}

/** Lets go of a tenant's custom host: nobody else gets it before the directory and the node have lost it. False: the tenant does not have it. */
export async function leaveHost(tx: Db, tenantId: string, host: string, now: Date): Promise<boolean> {
  const own = and(eq(hosts.tenantId, tenantId), eq(hosts.host, host), eq(hosts.kind, "custom"));
  const left = await tx
    .update(hosts)
    .set({ leavingSince: now })
    .where(and(own, isNull(hosts.leavingSince)))
    .returning({ host: hosts.host });
  return left.length > 0;
}

/** Raises the tenant's revision and enqueues the operation that brings directory, node and front in line with its hosts. */
export async function enqueueHostsChange(tx: Db, tenantId: string, now: Date): Promise<Enqueued> {
  await tx
    .update(tenants)
    .set({ revision: sql`nextval('control.revision')`, updatedAt: now })
    .where(eq(tenants.id, tenantId));
  return await enqueueOperation(tx, { kind: "tenant-hosts", subjectId: tenantId, tenantId, now });
}

/** Those that the directory has lost, and that wait for node and front. */
export const isWithdrawn = and(isNotNull(hosts.leavingSince), isNotNull(hosts.withdrawnAt));
