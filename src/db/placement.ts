import { and, asc, eq, sql, type SQL } from "drizzle-orm";
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
  if (nodeIds.length === 0) return new Map();
  const ids = sql.join(
    nodeIds.map((id) => sql`${id}`),
    sql`, `,
  );
  // Each column by its own index, and nothing sorted; a tenant that is named twice for one node is one.
  const rows = await tx.execute<{ id: string; n: number }>(sql`
    select node_id as id, count(*)::int as n from (
      select node_id from ${tenants} where node_id in (${ids})
      union all select next_node_id from ${tenants} where next_node_id in (${ids})
        and next_node_id is distinct from node_id
      union all select leaving_node_id from ${tenants} where leaving_node_id in (${ids})
        and leaving_node_id is distinct from node_id and leaving_node_id is distinct from next_node_id) places
    group by node_id`);
  return new Map(rows.map(({ id, n }) => [id, n]));
}
