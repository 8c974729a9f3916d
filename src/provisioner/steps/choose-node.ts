import { and, asc, eq, sql } from "drizzle-orm";
import { nodes, tenants } from "../../db/schema.ts";
import { pickNode } from "../pick-node.ts";
import { DONE, tenantOf } from "../step.ts";
import type { Step } from "../step.ts";

/** Gives the tenant a place on a node: the one asked for, else the one with the most room. Full for now: it waits for room. */
export const chooseNode: Step = async ({ operation, commit }) =>
  commit(async (tx) => {
    const { tenant, cluster } = await tenantOf(tx, operation);
    if (tenant.nodeId !== null) return DONE;
    // Locked in one order, so that operations that choose at the same time take turns and none overfills a node.
    const rows = await tx
      .select()
      .from(nodes)
      .where(and(eq(nodes.clusterId, cluster.id), eq(nodes.state, "active")))
      .orderBy(asc(nodes.id))
      .for("no key update");
    const counts = await tx
      .select({ nodeId: tenants.nodeId, n: sql<number>`count(*)::int` })
      .from(tenants)
      .where(eq(tenants.clusterId, cluster.id))
      .groupBy(tenants.nodeId);
    const taken = new Map(counts.map(({ nodeId, n }) => [nodeId, n]));
    const chosen = pickNode(
      rows
        .filter(({ id }) => tenant.requestedNodeId === null || id === tenant.requestedNodeId)
        .map(({ id, name, online, capacity }) => ({ id, name, online, capacity, tenants: taken.get(id) ?? 0 })),
    );
    if (chosen === null) return { kind: "wait", reason: "no node has room for another tenant" };
    await tx
      .update(tenants)
      .set({ nodeId: chosen.id, updatedAt: sql`now()` })
      .where(eq(tenants.id, tenant.id));
    return DONE;
  });
