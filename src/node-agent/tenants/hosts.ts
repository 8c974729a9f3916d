import { createHostClaims } from "../host-claims.ts";
import type { Tenant } from "./tenant.ts";

/** Which hosts are whose, and who has to be tried again when one of them is free. */
export interface TenantHosts {
  ownerOf(host: string): string | undefined;
  /** The hosts of the good revision are the tenant's, with `alsoWanted` those of the wanted one too. */
  claim(tenant: Tenant, alsoWanted: boolean): void;
  /** The tenant's newest revision was refused because another tenant has one of its hosts. */
  conflict(tenantId: string): void;
  noConflict(tenantId: string): void;
}

/** `retry`: hosts were freed, so a tenant in conflict may come up now. */
export function createTenantHosts(retry: (tenantId: string) => void): TenantHosts {
  const hosts = createHostClaims();
  const conflicted = new Set<string>();
  return {
    ownerOf: (host) => hosts.ownerOf(host),
    claim({ record: { tenantId, good, want } }, alsoWanted) {
      const freed = hosts.claim(tenantId, [...(good?.hosts ?? []), ...(alsoWanted ? (want?.hosts ?? []) : [])]);
      if (!freed) return;
      for (const other of conflicted) if (other !== tenantId) retry(other);
    },
    conflict: (tenantId) => void conflicted.add(tenantId),
    noConflict: (tenantId) => void conflicted.delete(tenantId),
  };
}
