import { and, asc, eq, isNull } from "drizzle-orm";
import type { TenantRoute } from "../policy/record.ts";
import type { Db } from "./client.ts";
import { clusters, hosts, routes, tenants } from "./schema.ts";

/** `slug` in the default cluster, `slug@cluster` outside: how API, CLI, client ids and relay URLs name a tenant. */
export const tenantName = (slug: string, cluster: { name: string; isDefault: boolean }): string =>
  cluster.isDefault ? slug : `${slug}@${cluster.name}`;

export type TenantRow = typeof tenants.$inferSelect;
export type HostRow = typeof hosts.$inferSelect;
export type ClusterRow = typeof clusters.$inferSelect;
export interface TenantAndCluster {
  readonly tenant: TenantRow;
  readonly cluster: ClusterRow;
}

/** `name`: `slug` or `slug@cluster`; the default cluster may be named as well. */
export async function findTenant(db: Db, name: string): Promise<TenantAndCluster | null> {
  const [slug = "", cluster] = name.split("@");
  const [row] = await db
    .select({ tenant: tenants, cluster: clusters })
    .from(tenants)
    .innerJoin(clusters, eq(clusters.id, tenants.clusterId))
    .where(
      and(eq(tenants.slug, slug), cluster === undefined ? eq(clusters.isDefault, true) : eq(clusters.name, cluster)),
    );
  return row ?? null;
}

/** As findTenant, the tenant's row locked: changes to one tenant take turns. */
export async function lockTenant(tx: Db, name: string): Promise<TenantAndCluster | null> {
  const found = await findTenant(tx, name);
  if (found === null) return null;
  const [tenant] = await tx.select().from(tenants).where(eq(tenants.id, found.tenant.id)).for("no key update");
  return tenant === undefined ? null : { tenant, cluster: found.cluster };
}

export async function tenantById(db: Db, id: string): Promise<TenantAndCluster | null> {
  const [row] = await db
    .select({ tenant: tenants, cluster: clusters })
    .from(tenants)
    .innerJoin(clusters, eq(clusters.id, tenants.clusterId))
    .where(eq(tenants.id, id));
  return row ?? null;
}

/** The hosts that are the tenant's; what is on its way out is not. */
export async function hostsOf(db: Db, tenantId: string): Promise<HostRow[]> {
  const current = and(eq(hosts.tenantId, tenantId), isNull(hosts.leavingSince));
  return await db.select().from(hosts).where(current).orderBy(asc(hosts.host));
}

export async function routesOf(db: Db, tenantId: string): Promise<TenantRoute[]> {
  const rows = await db.select().from(routes).where(eq(routes.tenantId, tenantId)).orderBy(asc(routes.prefix));
  return rows.map(({ prefix, access, kind, destination, options: { to, ...options } }) => ({
    prefix,
    access,
    to: destinationOf(kind, destination, to),
    ...options,
  }));
}

function destinationOf(
  kind: (typeof routes.$inferSelect)["kind"],
  name: string,
  to: TenantRoute["to"] | undefined,
): TenantRoute["to"] {
  if (kind === "service") return { kind, service: name };
  if (kind === "target") return { kind, target: name };
  if (to === undefined) throw new Error("a route of the edge's own without its answer");
  return to;
}
