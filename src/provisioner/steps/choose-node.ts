import { and, eq, isNull, sql } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { isDedicated, lockActiveNodes, placesTaken } from "../../db/placement.ts";
import { tenants } from "../../db/schema.ts";
import { pickNode } from "../pick-node.ts";
import type { NodeCandidate } from "../pick-node.ts";
import { DONE, tenantOf } from "../step.ts";
import type { Step } from "../step.ts";

/** Gives the tenant a place on a node: the one asked for, else the one with the most room. Full for now: it waits for room. */
export const chooseNode: Step = async ({ operation, commit }) =>
  commit(async (tx) => {
    const { tenant, cluster } = await tenantOf(tx, operation);
    if (tenant.nodeId !== null) return DONE;
    const chosen = await choose(tx, cluster.id, tenant.requestedNodeId, null);
    if (chosen === null) return { kind: "wait", reason: "no node has room for another tenant" };
    await tx
      .update(tenants)
      .set({ nodeId: chosen.id, updatedAt: sql`now()` })
      .where(eq(tenants.id, tenant.id));
    return DONE;
  });

/** Gives it a place on another node by the same rules, besides the one that it has. */
export const chooseNextNode: Step = async ({ operation, commit }) =>
  commit(async (tx) => {
    const { tenant, cluster } = await tenantOf(tx, operation);
    if (tenant.nextNodeId !== null) return DONE;
    const { work } = operation;
    const wanted = work !== null && "toNodeId" in work ? work.toNodeId : null;
    const chosen = await choose(tx, cluster.id, wanted, tenant.nodeId);
    if (chosen === null) return { kind: "wait", reason: "no other node has room for the tenant" };
    await tx
      .update(tenants)
      .set({ nextNodeId: chosen.id })
      .where(and(eq(tenants.id, tenant.id), isNull(tenants.nextNodeId)));
    return DONE;
  });

/** `wantedId`: this one or none. `exceptId`: not this one. */
async function choose(
  tx: Db,
  clusterId: string,
  wantedId: string | null,
  exceptId: string | null,
): Promise<NodeCandidate | null> {
  const rows = await lockActiveNodes(tx, clusterId);
  const taken = await placesTaken(
    tx,
    rows.map(({ id }) => id),
  );
  return pickNode(
    rows
      .filter((node) => node.id !== exceptId && (wantedId === null ? !isDedicated(node) : node.id === wantedId))
      .map(({ id, name, online, capacity }) => ({ id, name, online, capacity, tenants: taken.get(id) ?? 0 })),
  );
}
