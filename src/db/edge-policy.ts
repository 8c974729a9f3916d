import { asc, eq } from "drizzle-orm";
import type { EdgePolicy } from "../policy/edge-policy.ts";
import type { Db } from "./client.ts";
import { serviceTokens } from "./schema.ts";
import type { TenantRow } from "./tenants.ts";

export type ServiceTokenRow = typeof serviceTokens.$inferSelect;

export async function serviceTokensOf(db: Db, tenantId: string): Promise<ServiceTokenRow[]> {
  return await db
    .select()
    .from(serviceTokens)
    .where(eq(serviceTokens.tenantId, tenantId))
    .orderBy(asc(serviceTokens.createdAt), asc(serviceTokens.id));
}

/** What the directory is to know beside the routes; undefined when there is nothing, so that most records stay as small as they can be. */
export async function edgePolicyOf(db: Db, tenant: TenantRow): Promise<EdgePolicy | undefined> {
  const tokens = await serviceTokensOf(db, tenant.id);
  const policy: EdgePolicy = {
    ...tenant.edgeRules,
    ...(tenant.visitorPassword !== null && { password: tenant.visitorPassword }),
    ...(tokens.length > 0 && {
      tokens: tokens.map(({ id, sha256, prefixes, write, expiresAt }) => ({
        id,
        sha256,
        prefixes,
        write,
        expiresAtSeconds: expiresAt === null ? null : Math.floor(expiresAt.getTime() / 1_000),
      })),
    }),
  };
  return Object.keys(policy).length === 0 ? undefined : policy;
}
