import { and, eq, inArray, isNotNull, ne } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { edgePolicyOf } from "../db/edge-policy.ts";
import { clusters, maintenanceNotices, nodes, services } from "../db/schema.ts";
import { hostsOf, routesOf, type TenantRow } from "../db/tenants.ts";
import { frontRoutes } from "../policy/front.ts";
import type { TenantState } from "../policy/record.ts";
import type { Front, NodeChange } from "../protocol/node-channel.ts";
import { MASTER_WAIT_MS } from "./limits.ts";
import type { ProvisionerPorts } from "./ports.ts";

/** What masters are told of a tenant: its open routes, or that they have none for it and the edge has all of it. */
export interface FrontChange {
  readonly masters: readonly string[];
  readonly change: NodeChange;
}

/**
 * As its rows say, under the tenant's present revision; null when its cluster has no masters. `state`: as visitors are to find it. In a fenced
 * transaction, see step.ts.
 */
export async function frontChangeOf(tx: Db, tenant: TenantRow, state: TenantState): Promise<FrontChange | null> {
  const masters = await mastersOf(tx, tenant.clusterId);
  if (masters.length === 0) return null;
  const { id: tenantId, slug, revision } = tenant;
  const front = state === "active" ? await frontOf(tx, tenant) : null;
  if (front === null) return { masters, change: { kind: "remove", tenantId, revision } };
  const hosts = (await hostsOf(tx, tenantId)).map(({ host }) => host);
  return {
    masters,
    change: { kind: "put", tenant: { tenantId, slug, revision, hosts, routes: [], services: [], front } },
  };
}

/** Leave of a tenant, whatever its rows say. */
export async function frontRemovalOf(tx: Db, tenant: TenantRow): Promise<FrontChange | null> {
  const masters = await mastersOf(tx, tenant.clusterId);
  const { id: tenantId, revision } = tenant;
  return masters.length === 0 ? null : { masters, change: { kind: "remove", tenantId, revision } };
}

/** Ids of a cluster's masters that are in use. */
async function mastersOf(tx: Db, clusterId: string): Promise<string[]> {
  const rows = await tx
    .select({ id: nodes.id })
    .from(nodes)
    .where(and(eq(nodes.clusterId, clusterId), eq(nodes.role, "master"), ne(nodes.state, "disabled")));
  return rows.map(({ id }) => id);
}

/** Null: nothing of it can be had without the edge. */
async function frontOf(tx: Db, tenant: TenantRow): Promise<Front | null> {
  const [node] = tenant.nodeId === null ? [] : await tx.select().from(nodes).where(eq(nodes.id, tenant.nodeId));
  const at = parseAddress(node?.mastersAddress ?? null);
  if (node === undefined || at === null || (await isInMaintenance(tx, tenant.clusterId))) return null;
  const special = await tx
    .select({ name: services.name, protocol: services.protocol, stopped: services.stopped })
    .from(services)
    .where(and(eq(services.tenantId, tenant.id), ne(services.protocol, "http")));
  const http2 = new Set(special.flatMap(({ name, protocol }) => (protocol === "h2c" ? [name] : [])));
  const routes = frontRoutes(await routesOf(tx, tenant.id), await edgePolicyOf(tx, tenant), http2);
  const mqtt = special.some(({ protocol, stopped }) => protocol === "mqtt" && !stopped);
  return routes.length === 0 && !mqtt ? null : { node: { id: node.id, at }, routes, mqtt };
}

/** Of the platform or of the cluster. */
async function isInMaintenance(tx: Db, clusterId: string): Promise<boolean> {
  const [cluster] = await tx.select({ name: clusters.name }).from(clusters).where(eq(clusters.id, clusterId));
  const [notice] = await tx
    .select({ scope: maintenanceNotices.scope })
    .from(maintenanceNotices)
    .where(
      and(inArray(maintenanceNotices.scope, ["*", cluster?.name ?? "*"]), isNotNull(maintenanceNotices.maintenance)),
    )
    .limit(1);
  return notice !== undefined;
}

/** `host:port` of a node's row. */
function parseAddress(text: string | null): Front["node"]["at"] | null {
  const [, host, port] = /^([A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(text ?? "") ?? [];
  return host === undefined ? null : { host, port: Number(port) };
}

/**
 * Tells all masters, and waits a moment for those that are online. One that can't take it drops the tenant by itself; one that is offline finds
 * it in its channel, and sends nobody to a route that the node has closed meanwhile.
 */
export async function tellMasters(ports: ProvisionerPorts, front: FrontChange | null): Promise<void> {
  if (front === null) return;
  const { masters, change } = front;
  const { tenantId, revision } = change.kind === "put" ? change.tenant : change;
  await Promise.all(
    masters.map(async (id) => {
      const channel = ports.nodeChannel(id);
      await channel.push(change);
      if (!(await channel.presence()).online) return;
      const status = await channel.waitSettled(tenantId, revision, MASTER_WAIT_MS);
      if (status?.revision === revision && status.state === "rejected")
        ports.log.warn("a master did not take a tenant", { master: id, tenantId, reason: status.reason });
    }),
  );
}
