import { and, asc, eq, inArray, isNotNull, or, type SQL } from "drizzle-orm";
import type { Db } from "./client.ts";
import { nodes, tenants } from "./schema.ts";

export type NodeRow = typeof nodes.$inferSelect;

/** A node with the label `dedicated: "true"` gets only tenants that were put there by name. */
export const isDedicated = ({ labels }: Pick<NodeRow, "labels">): boolean => labels["dedicated"] === "true";

/** Nodes of a cluster that take tenants: no masters, and none that is drained or disabled. */
export const takesTenants = (clusterId: string): SQL | undefined =>
  and(eq(nodes.clusterId, clusterId), eq(nodes.role, "node"), eq(nodes.state, "active"));

/** These. Locked in one order: who chooses at the same time takes turns, and none is overfilled. */
export async function lockActiveNodes(tx: Db, clusterId: string): Promise<NodeRow[]> {
  return await tx.select().from(nodes).where(takesTenants(clusterId)).orderBy(asc(nodes.id)).for("no key update");
}

/** Places that are taken, by node id. A tenant that moves has one at both nodes. */
export async function placesTaken(tx: Db, nodeIds: readonly string[]): Promise<Map<string, number>> {
  const taken = new Map<string, number>();
  if (nodeIds.length === 0) return taken;
  const columns = [tenants.nodeId, tenants.nextNodeId, tenants.leavingNodeId];
  const rows = await tx
    .select({ nodeId: tenants.nodeId, nextNodeId: tenants.nextNodeId, leavingNodeId: tenants.leavingNodeId })
    .from(tenants)
    .where(or(...columns.map((column) => and(isNotNull(column), inArray(column, [...nodeIds])))));
  for (const { nodeId, nextNodeId, leavingNodeId } of rows)
    for (const id of new Set([nodeId, nextNodeId, leavingNodeId]))
      if (id !== null) taken.set(id, (taken.get(id) ?? 0) + 1);
  return taken;
}
