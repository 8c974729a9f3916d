/** Which tenant of this node has which host. A host belongs to one tenant at a time: two would mean that one sees the other's requests. */
export interface HostClaims {
  ownerOf(host: string): string | undefined;
  /** These are the tenant's hosts from now on, as far as nobody else has them. Says whether others of it are free now. */
  claim(tenantId: string, hosts: readonly string[]): boolean;
}

export function createHostClaims(): HostClaims {
  const owners = new Map<string, string>();
  const claims = new Map<string, ReadonlySet<string>>();
  return {
    ownerOf: (host) => owners.get(host),
    claim(tenantId, hosts) {
      const wanted = new Set(hosts.map((host) => host.toLowerCase()));
      const freed = [...(claims.get(tenantId) ?? [])].filter(
        (host) => !wanted.has(host) && owners.get(host) === tenantId,
      );
      for (const host of freed) owners.delete(host);
      for (const host of wanted) if (!owners.has(host)) owners.set(host, tenantId);
      if (wanted.size > 0) claims.set(tenantId, wanted);
      else claims.delete(tenantId);
      return freed.length > 0;
    },
  };
}
