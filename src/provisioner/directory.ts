import { eq, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import type { OperationRow } from "../db/operations.ts";
import { edgePolicyOf } from "../db/edge-policy.ts";
import { nodes, tenants } from "../db/schema.ts";
import { hostsOf, routesOf } from "../db/tenants.ts";
import type { DirectoryRecord, TenantState } from "../policy/record.ts";
import { withoutExpired } from "../policy/revocation.ts";
import type { StepOutcome } from "./machine.ts";
import type { ProvisionerPorts } from "./ports.ts";
import { DONE, tenantOf } from "./step.ts";

/**
 * What the directory is to know of each of a tenant's hosts, under a new revision. In a fenced transaction: content and revision belong
 * together. Routes and node are shown once it is to be active or suspended; before that no visitor gets anywhere.
 */
export async function recordsOf(
  tx: Db,
  operation: OperationRow,
  state: TenantState,
  nowMs: number,
): Promise<DirectoryRecord[]> {
  const { cluster } = await tenantOf(tx, operation);
  const [tenant] = await tx
    .update(tenants)
    .set({ revision: sql`nextval('control.revision')` })
    .where(eq(tenants.id, operation.subjectId))
    .returning();
  if (tenant === undefined) throw new Error("the tenant is gone");
  const complete = state === "active" || state === "suspended";
  const [node] = tenant.nodeId === null ? [] : await tx.select().from(nodes).where(eq(nodes.id, tenant.nodeId));
  const routes = complete ? await routesOf(tx, tenant.id) : [];
  const policy = complete ? await edgePolicyOf(tx, tenant) : undefined;
  const hosts = await hostsOf(tx, tenant.id);
  return hosts.map(({ host }) => ({
    host,
    tenantId: tenant.id,
    slug: tenant.slug,
    cluster: cluster.name,
    state,
    node: complete && node !== undefined ? { id: node.id, name: node.name, url: node.envoyUrl } : null,
    routes,
    ...(policy !== undefined && { policy }),
    accessRevision: tenant.accessRevision,
    notBefore: withoutExpired(tenant.notBefore, Math.floor(nowMs / 1_000)),
    revision: tenant.revision,
  }));
}

/** Publishes records. A newer one of the same tenant that is there already is as good; a host in another tenant's hands is not. */
export async function publishAll(ports: ProvisionerPorts, records: readonly DirectoryRecord[]): Promise<StepOutcome> {
  for (const record of records) {
    const shard = ports.directory(record.host);
    const { applied } = await shard.publish(record);
    if (applied) continue;
    const held = await shard.lookup(record.host);
    if (held === null) return { kind: "error", reason: `the directory did not take ${record.host}` };
    if (held.tenantId !== record.tenantId)
      return { kind: "give-up", reason: `the host ${record.host} belongs to another tenant` };
  }
  return DONE;
}
