import { and, eq, isNotNull, sql } from "drizzle-orm";
import { tenants } from "../../db/schema.ts";
import { EDGES_FOLLOW_MS, LEAVE_LOOK_MS, LEAVE_WAIT_MS } from "../limits.ts";
import { stillThere } from "../remove-from-node.ts";
import { DONE, tenantOf } from "../step.ts";
import type { Step } from "../step.ts";

/** The new node has reported the tenant live: from here on it is the tenant's node. Publication comes next; the old one serves on. */
export const switchNode: Step = async ({ operation, commit }) => {
  await commit((tx) =>
    tx
      .update(tenants)
      .set({ nodeId: sql`${tenants.nextNodeId}`, leavingNodeId: sql`${tenants.nodeId}`, nextNodeId: null })
      // Run again it finds nothing to switch.
      .where(and(eq(tenants.id, operation.subjectId), isNotNull(tenants.nextNodeId))),
  );
  return DONE;
};

/** Every edge has learned of the new node, and then what was begun at the old one had its time to end. */
export const drainOldNode: Step = async ({ ports, operation: { work }, begunAt }) => {
  const drainMs = work !== null && "drainMs" in work ? work.drainMs : 0;
  const untilMs = begunAt.getTime() + EDGES_FOLLOW_MS + drainMs;
  const leftMs = untilMs - ports.clock();
  if (leftMs <= 0) return DONE;
  const until = new Date(untilMs).toISOString();
  return { kind: "more", reason: `what is open at the node that it leaves may end until ${until}`, delayMs: leftMs };
};

/** The node that the tenant left, or did not get to, has let it go: its services get SIGTERM there and end. */
export const leaveNode: Step = async ({ ports, operation, begunAt, commit }) => {
  const tenant = await commit(async (tx) => (await tenantOf(tx, operation)).tenant);
  const { id, nodeId, leavingNodeId } = tenant;
  if (leavingNodeId === null) return DONE;
  // Never where it is served.
  const left = leavingNodeId !== nodeId && (await stillThere(ports, leavingNodeId, tenant));
  if (left && ports.clock() < begunAt.getTime() + LEAVE_WAIT_MS)
    return { kind: "more", reason: "the node that it leaves has not let it go yet", delayMs: LEAVE_LOOK_MS };
  await commit((tx) =>
    tx
      .update(tenants)
      .set({ leavingNodeId: null })
      .where(and(eq(tenants.id, id), eq(tenants.leavingNodeId, leavingNodeId))),
  );
  return DONE;
};
