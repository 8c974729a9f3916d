import { type DirectoryRecord, directoryShard, type TenantRoute } from "../../src/policy/record.ts";
import { BASE_DOMAIN, type ObjectCall } from "./product.ts";

/** The one tenant of a benchmark, as the control plane would know it. */
export const TENANT = { id: "ten_bench", slug: "bench", host: `bench.${BASE_DOMAIN}`, nodeId: "nod_bench" };

/** Publishes the tenant's record with the given routes to its directory object. */
export function publishTenant(nodeUrl: string | null, routes: readonly TenantRoute[]): ObjectCall {
  const record: DirectoryRecord = {
    host: TENANT.host,
    tenantId: TENANT.id,
    slug: TENANT.slug,
    cluster: "default",
    state: "active",
    node: nodeUrl === null ? null : { id: TENANT.nodeId, name: "bench-node", url: nodeUrl },
    routes: [...routes],
    accessRevision: 0,
    notBefore: {},
    revision: 1,
  };
  return { namespace: "DIRECTORY", name: directoryShard(record.host), method: "publish", args: [record] };
}
