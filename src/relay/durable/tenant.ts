import type { DirectoryRecord } from "../../policy/record.ts";
import type { ClaimedIdentity } from "../admission/identity.ts";

export type Lookup = (host: string) => Promise<DirectoryRecord | null>;

/**
 * The tenant's id, by the host that every tenant has: `<slug>.<base>`. Without a cluster it is the platform's own base, the first one; with
 * one it is the base whose record says so. Null when there is no such tenant. Rejects when the directory does not answer.
 */
export async function findTenant(
  identity: ClaimedIdentity,
  bases: readonly string[],
  lookup: Lookup,
): Promise<string | null> {
  if (identity.cluster === null) {
    const [own] = bases;
    return own === undefined ? null : ((await lookup(`${identity.slug}.${own}`))?.tenantId ?? null);
  }
  for (const base of bases) {
    const record = await lookup(`${identity.slug}.${base}`);
    if (record?.cluster === identity.cluster && record.slug === identity.slug) return record.tenantId;
  }
  return null;
}
