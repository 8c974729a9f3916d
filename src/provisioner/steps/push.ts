import { PUSH_WAIT_MS } from "../limits.ts";
import { nodeTenantOf } from "../node-tenant.ts";
import type { TenantRow } from "../../db/tenants.ts";
import type { StepOutcome } from "../machine.ts";
import { DONE, tenantOf } from "../step.ts";
import type { Step, StepContext } from "../step.ts";

/** Sends the tenant to its node and waits until a request through the node's data path has seen it. */
export const push: Step = (context) => pushTo(context, ({ nodeId }) => nodeId);

/** As above to the node that it moves to, while the old one goes on serving. */
export const pushNext: Step = (context) => pushTo(context, ({ nextNodeId }) => nextNodeId);

/**
 * The tenant's node runs its services, or none of them while it is suspended: whatever is open to them ends. One that is offline is not waited
 * for, since its channel keeps the order; no visitor is sent there meanwhile.
 */
export const settleNode: Step = async (context) => {
  const outcome = await pushTo(context, ({ nodeId }) => nodeId);
  return outcome === OFFLINE ? DONE : outcome;
};

const OFFLINE: StepOutcome = { kind: "wait", reason: "the node is offline" };

async function pushTo(
  { ports, operation, commit }: StepContext,
  nodeOf: (tenant: TenantRow) => string | null,
): Promise<StepOutcome> {
  const key = await ports.sealingKey();
  const wanted = await commit(async (tx) => {
    const found = await tenantOf(tx, operation);
    const nodeId = nodeOf(found.tenant);
    return nodeId === null ? null : { nodeId, tenant: await nodeTenantOf(tx, key, found) };
  });
  if (wanted === null) throw new Error("the tenant has no node");
  const { tenantId, revision } = wanted.tenant;
  const channel = ports.nodeChannel(wanted.nodeId);
  const pushed = await channel.push({ kind: "put", tenant: wanted.tenant });
  if (!pushed.applied && pushed.revision > revision)
    return { kind: "error", reason: `the node holds a newer revision (${pushed.revision}) of this tenant` };
  const status = await channel.waitSettled(tenantId, revision, PUSH_WAIT_MS);
  if (status?.revision === revision && status.state === "live") return DONE;
  if (status?.revision === revision && status.state === "rejected")
    return { kind: "give-up", reason: `the node rejected the configuration: ${status.reason ?? "no reason given"}` };
  const { online, enrolled } = await channel.presence();
  if (!enrolled) return { kind: "wait", reason: "the node has not enrolled yet" };
  if (!online) return OFFLINE;
  return { kind: "wait", reason: "the node has not reported the tenant live yet" };
}
