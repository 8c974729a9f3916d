import type { TenantRow } from "../db/tenants.ts";
import { PUSH_WAIT_MS } from "./limits.ts";
import type { ProvisionerPorts } from "./ports.ts";

/**
 * Tells a node to let the tenant go, under the tenant's revision, and waits a moment: whether the node still has it. Of one that is offline that
 * is false, since its channel keeps the order.
 */
export async function stillThere(
  ports: ProvisionerPorts,
  nodeId: string,
  { id, revision }: Pick<TenantRow, "id" | "revision">,
): Promise<boolean> {
  const channel = ports.nodeChannel(nodeId);
  await channel.push({ kind: "remove", tenantId: id, revision });
  if (!(await channel.presence()).online) return false;
  return (await channel.waitSettled(id, revision, PUSH_WAIT_MS)) !== null;
}
