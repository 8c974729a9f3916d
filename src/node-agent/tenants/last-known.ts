import { lookAt } from "../services/health-check.ts";
import type { ServiceDriver } from "../services/service-driver.ts";
import type { TenantRecord } from "../store.ts";
import { encodeTenant } from "../xds/codec.ts";
import { instancesOf, type Render, type Rendered } from "./services.ts";

/**
 * What was served, at the addresses of then: for services whose driver can't say anything now (an engine that is away while its containers go
 * on). Null unless each of them still answers there, and nobody else of this node has the address.
 */
export async function lastKnown(driver: ServiceDriver, render: Render, record: TenantRecord): Promise<Rendered | null> {
  const { good, endpoints } = record;
  if (good === null) return null;
  const taken = new Set(driver.running().map(({ port }) => port));
  for (const instance of instancesOf(good)) {
    const endpoint = endpoints[instance.service];
    if (endpoint === undefined || taken.has(endpoint.port) || (await lookAt(instance, endpoint)) !== null) return null;
  }
  const unit = encodeTenant(good.tenantId, good.revision, render(good, new Map(Object.entries(endpoints))));
  return { unit, endpoints };
}
