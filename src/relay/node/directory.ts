import { parseHost, type ParsedHost } from "../../policy/host.ts";
import type { RelayConfig } from "./config.ts";
import type { Tenant } from "./tenants.ts";

/** Whose host it is. */
export type HostOwner =
  | { readonly kind: "relay" }
  | { readonly kind: "tenant"; readonly tenant: Tenant }
  | { readonly kind: "target"; readonly tenant: Tenant; readonly target: string }
  | { readonly kind: "unknown" }
  | { readonly kind: "malformed" };

export interface Directory {
  /** By the Host header as it came. */
  ownerOf(rawHost: string): HostOwner;
  bySlug(slug: string): Tenant | undefined;
}

/** Host headers whose owner is remembered; what strangers make up must not fill the memory. */
const REMEMBERED_HOSTS = 2_000;

/** Of one configuration; a new one gets a new directory. */
export function createDirectory(config: RelayConfig, tenants: ReadonlyMap<string, Tenant>): Directory {
  const custom = new Map<string, Tenant>();
  for (const tenant of tenants.values()) for (const host of tenant.config.hosts) custom.set(host, tenant);
  const remembered = new Map<string, HostOwner>();

  const owned = (parsed: ParsedHost): HostOwner => {
    switch (parsed.kind) {
      case "malformed":
      case "relay":
        return { kind: parsed.kind };
      case "tenant":
      case "target": {
        const tenant = tenants.get(parsed.slug);
        if (tenant === undefined) return { kind: "unknown" };
        return parsed.kind === "tenant"
          ? { kind: "tenant", tenant }
          : { kind: "target", tenant, target: parsed.target };
      }
      case "custom": {
        const tenant = custom.get(parsed.host);
        return tenant === undefined ? { kind: "unknown" } : { kind: "tenant", tenant };
      }
      case "apex":
      case "unknown":
        break;
    }
    return { kind: "unknown" };
  };

  return {
    ownerOf(rawHost) {
      const known = remembered.get(rawHost);
      if (known !== undefined) return known;
      const owner = owned(parseHost(rawHost, config.baseDomains));
      if (remembered.size >= REMEMBERED_HOSTS) remembered.clear();
      remembered.set(rawHost, owner);
      return owner;
    },
    bySlug: (slug) => tenants.get(slug),
  };
}
