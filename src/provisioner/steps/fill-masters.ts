import { and, asc, eq, gt, inArray, sql, type SQL } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { maintenanceSubject, type OperationRow } from "../../db/operations.ts";
import { clusters, nodes, operations, tenants } from "../../db/schema.ts";
import { FILL_BATCH, FILL_ROUND_MS, FILL_RUN_MS } from "../limits.ts";
import { frontChangeOf, tellMasters, type FrontChange } from "../masters.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/**
 * Masters are told anew of all tenants that this is about: those of a cluster that has a new master or is closed for maintenance, those of a
 * node whose address for masters has changed. Some at a time; how far it has come is in the operation's row.
 */
export const fillMasters: Step = async ({ ports, operation, commit }) => {
  const { work } = operation;
  const untilMs = ports.clock() + FILL_RUN_MS;
  let after = work !== null && "afterTenantId" in work ? work.afterTenantId : "";
  do {
    const { fronts, last } = await commit((tx) => nextFronts(tx, operation, after));
    await Promise.all(fronts.map((front) => tellMasters(ports, front)));
    if (last === null) return DONE;
    // Only now: a run that dies before tells them again.
    await commit((tx) =>
      tx
        .update(operations)
        .set({ work: { afterTenantId: last } })
        .where(eq(operations.id, operation.id)),
    );
    after = last;
  } while (ports.clock() < untilMs);
  return { kind: "more", reason: "masters are being told of more tenants", delayMs: FILL_ROUND_MS };
};

/** What masters are to know of the next tenants; `last` is null when these are all. */
async function nextFronts(
  tx: Db,
  operation: OperationRow,
  after: string,
): Promise<{ fronts: readonly (FrontChange | null)[]; last: string | null }> {
  const which = await concerned(tx, operation);
  if (which === null) return { fronts: [], last: null };
  const batch = await tx
    .select({ id: tenants.id })
    .from(tenants)
    .where(and(which, eq(tenants.state, "active"), gt(tenants.id, after)))
    .orderBy(asc(tenants.id))
    .limit(FILL_BATCH)
    .for("no key update");
  const ids = batch.map(({ id }) => id);
  if (ids.length === 0) return { fronts: [], last: null };
  // A revision of their own: what slower runs still tell is older.
  const rows = await tx
    .update(tenants)
    .set({ revision: sql`nextval('control.revision')` })
    .where(inArray(tenants.id, ids))
    .returning();
  const fronts = await Promise.all(rows.map((tenant) => frontChangeOf(tx, tenant, "active")));
  return { fronts, last: ids.length < FILL_BATCH ? null : (ids.at(-1) ?? null) };
}

/** Null: nobody has to be told. */
async function concerned(tx: Db, { kind, subjectId }: OperationRow): Promise<SQL | null> {
  if (kind === "maintenance-publish") {
    const scope = maintenanceSubject.scopeOf(subjectId);
    const withMasters = tx.select({ id: nodes.clusterId }).from(nodes).where(eq(nodes.role, "master"));
    const named = tx.select({ id: clusters.id }).from(clusters).where(eq(clusters.name, scope));
    const inScope = scope === "*" ? undefined : inArray(tenants.clusterId, named);
    return and(inArray(tenants.clusterId, withMasters), inScope) ?? null;
  }
  const [node] = await tx.select().from(nodes).where(eq(nodes.id, subjectId));
  if (node === undefined) return null;
  return node.role === "master" ? eq(tenants.clusterId, node.clusterId) : eq(tenants.nodeId, node.id);
}
