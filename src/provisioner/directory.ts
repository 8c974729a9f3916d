import { eq, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import type { OperationRow } from "../db/operations.ts";
import { edgePolicyOf } from "../db/edge-policy.ts";
import { clusters, nodes, tenants } from "../db/schema.ts";
import { hostsOf, routesOf } from "../db/tenants.ts";
import type { DirectoryRecord, TenantState } from "../policy/record.ts";
import { withoutExpired } from "../policy/revocation.ts";
import type { StepOutcome } from "./machine.ts";
import { frontChangeOf, tellMasters, type FrontChange } from "./masters.ts";
import type { ProvisionerPorts } from "./ports.ts";
import { DONE } from "./step.ts";

/** What visitors are to find: at the edge, and at masters. */
export interface Publication {
  /** Of each of the tenant's hosts. */
  readonly records: readonly DirectoryRecord[];
  /** Null: there are no masters. */
  readonly front: FrontChange | null;
}

/**
 * What directory and masters are to know of a tenant, under a new revision. In a fenced transaction: content and revision belong
 * together. Routes and node are shown once it is to be active or suspended; before that no visitor gets anywhere.
 */
export async function publicationOf(
  tx: Db,
  operation: OperationRow,
  state: TenantState,
  nowMs: number,
): Promise<Publication> {
  const [tenant] = await tx
    .update(tenants)
    .set({ revision: sql`nextval('control.revision')` })
    .where(eq(tenants.id, operation.subjectId))
    .returning();
  if (tenant === undefined) throw new Error("the tenant is gone");
  const complete = state === "active" || state === "suspended";
  const [[cluster], [node], routes, policy, hosts, front] = await Promise.all([
    tx.select({ name: clusters.name }).from(clusters).where(eq(clusters.id, tenant.clusterId)),
    tenant.nodeId === null ? [] : tx.select().from(nodes).where(eq(nodes.id, tenant.nodeId)),
    complete ? routesOf(tx, tenant.id) : [],
    complete ? edgePolicyOf(tx, tenant) : undefined,
    hostsOf(tx, tenant.id),
    frontChangeOf(tx, tenant, state),
  ]);
  if (cluster === undefined) throw new Error("the tenant's cluster is gone");
  const records = hosts.map(({ host }) => ({
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
  return { records, front };
}

/** To both at once: neither waits for the other, or stays behind when the other is away. */
export async function publishAll(ports: ProvisionerPorts, { records, front }: Publication): Promise<StepOutcome> {
  const [outcome, told] = await Promise.allSettled([publishRecords(ports, records), tellMasters(ports, front)]);
  if (outcome.status === "rejected") throw outcome.reason;
  if (told.status === "rejected") throw told.reason;
  return outcome.value;
}

/** A newer one of the same tenant that is there already is as good; a host in another tenant's hands is not. */
async function publishRecords(ports: ProvisionerPorts, records: readonly DirectoryRecord[]): Promise<StepOutcome> {
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
