import { asc, eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { services, workspaces } from "../db/schema.ts";
import type { SealingKey } from "../db/secrets.ts";
import { tenantDatabaseUrl } from "../db/tenant-database.ts";
import { hostsOf, routesOf } from "../db/tenants.ts";
import type { TenantAndCluster } from "../db/tenants.ts";
import { isOpenRoute } from "../policy/front.ts";
import type { NodeTenant } from "../protocol/node-channel.ts";
import { databaseLogin } from "./database-login.ts";

/** All that a node is told of a tenant. Holds secrets: never log it. In a fenced transaction, see step.ts. */
export async function nodeTenantOf(
  tx: Db,
  key: SealingKey,
  { tenant, cluster }: TenantAndCluster,
): Promise<NodeTenant> {
  const [rows, routes, hosts] = await Promise.all([
    tx
      .select({ service: services, workspace: workspaces.name })
      .from(services)
      .innerJoin(workspaces, eq(workspaces.id, services.workspaceId))
      .where(eq(services.tenantId, tenant.id))
      .orderBy(asc(services.name), asc(workspaces.name)),
    routesOf(tx, tenant.id),
    hostsOf(tx, tenant.id),
  ]);
  const databaseUrl = rows.some(({ service }) => service.needsSchema)
    ? await databaseUrlOf(tx, key, tenant.id, cluster.databaseAddress)
    : null;
  return {
    tenantId: tenant.id,
    slug: tenant.slug,
    revision: tenant.revision,
    hosts: hosts.map(({ host }) => host),
    routes: routes.flatMap((route) => {
      const { prefix, to, rewrite } = route;
      if (to.kind !== "service") return [];
      return [{ prefix, service: to.service, ...(rewrite && { rewrite }), ...(isOpenRoute(route) && { open: true }) }];
    }),
    services: rows.map(({ service, workspace }) => ({
      name: service.name,
      workspace,
      driver: service.driver,
      ...(service.protocol !== "http" && { protocol: service.protocol }),
      // Nothing of a suspended tenant runs, so nothing stays open to it (E13).
      ...((service.stopped || tenant.state === "suspended") && { stopped: true }),
      healthPath: service.healthPath,
      secrets: service.needsSchema && databaseUrl !== null ? { DATABASE_URL: databaseUrl } : {},
    })),
  };
}

async function databaseUrlOf(tx: Db, key: SealingKey, tenantId: string, address: string): Promise<string> {
  const { role, password } = await databaseLogin(tx, key, tenantId);
  return tenantDatabaseUrl(address, tenantId, password, role);
}
