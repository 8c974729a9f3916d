import type { DirectoryRecord, TenantRoute } from "../../../src/policy/record.ts";

export const BASE = "causeway.localhost";

export const toService = (prefix: string, access: "public" | "member" = "public"): TenantRoute => ({
  prefix,
  access,
  to: { kind: "service", service: prefix.slice(1) },
});
export const toTarget = (prefix: string, target: string, access: "public" | "member" = "public"): TenantRoute => ({
  prefix,
  access,
  to: { kind: "target", target },
});

/** An active tenant on a node, with the usual routes. */
export function tenantRecord(
  slug: string,
  node: { readonly id: string; readonly url: string },
  over: Partial<DirectoryRecord> = {},
): DirectoryRecord {
  return {
    host: `${slug}.${BASE}`,
    tenantId: `ten_${slug}`,
    slug,
    cluster: "default",
    state: "active",
    node: { id: node.id, name: `node-of-${slug}`, url: node.url },
    routes: [toService("/app"), toService("/app-frontend"), toService("/manager", "member")],
    accessRevision: 0,
    notBefore: {},
    revision: 1,
    ...over,
  };
}
