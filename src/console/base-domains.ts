import { z } from "@hono/zod-openapi";
import { and, eq, ne, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { clusters, hosts, tenants } from "../db/schema.ts";
import { ok, type Result } from "../shared/result.ts";
import { fail, type Failure } from "./failure.ts";

export const baseDomains = z
  .array(
    z
      .string()
      .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/, "not a domain name")
      .max(200),
  )
  .min(1)
  .max(10)
  .refine((domains) => new Set(domains).size === domains.length, "a domain twice");

/** Whether a cluster (null: a new one) may have these base domains: nobody else has them, or a host in them. */
export async function checkDomains(
  tx: Db,
  clusterId: string | null,
  domains: readonly string[],
): Promise<Result<null, Failure>> {
  const list = sql`${`{${domains.join(",")}}`}::text[]`;
  const others = clusterId === null ? undefined : ne(clusters.id, clusterId);
  const [overlap] = await tx
    .select({ name: clusters.name })
    .from(clusters)
    .where(and(others, sql`${clusters.baseDomains} && ${list}`));
  if (overlap !== undefined) return fail("conflict", `Cluster "${overlap.name}" has one of these base domains.`);
  const [held] = await tx
    .select()
    .from(hosts)
    .where(
      sql`exists (select 1 from unnest(${list}) domain
        where ${hosts.host} = domain or (${hosts.kind} = 'custom' and ${hosts.host} like '%.' || domain))`,
    )
    .limit(1);
  if (held !== undefined) return fail("conflict", `A tenant has the host "${held.host}".`);
  if (clusterId === null) return ok(null);
  const [named] = await tx
    .select({ slug: tenants.slug, name: clusters.name })
    .from(tenants)
    .innerJoin(clusters, ne(clusters.id, clusterId))
    .where(
      and(
        eq(tenants.clusterId, clusterId),
        sql`exists (select 1 from unnest(${list}) domain where ${tenants.slug} || '.' || domain = any(${clusters.baseDomains}))`,
      ),
    )
    .limit(1);
  if (named !== undefined)
    return fail("conflict", `The host of tenant "${named.slug}" would be the domain of cluster "${named.name}".`);
  return ok(null);
}
