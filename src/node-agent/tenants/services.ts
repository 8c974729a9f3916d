import type { NodeTenant } from "../../protocol/node-channel.ts";
import { ok, type Result } from "../../shared/result.ts";
import type { Endpoint } from "../envoy/render.ts";
import type { RenderedTenant } from "../envoy/resources.ts";
import type { ServiceDriver, ServiceInstance } from "../services/service-driver.ts";
import type { TenantRecord } from "../store.ts";
import { encodeTenant } from "../xds/codec.ts";
import type { TenantUnit } from "../xds/planner.ts";

/** A revision for Envoy, and where its services listen. */
export interface Rendered {
  readonly unit: TenantUnit;
  readonly endpoints: TenantRecord["endpoints"];
}

/** Starts (or finds) the services of a revision; where each route's service listens. */
export async function servicesUp(
  driver: ServiceDriver,
  spec: NodeTenant,
): Promise<Result<Map<string, Endpoint>, string>> {
  const endpoints = new Map<string, Endpoint>();
  for (const { name, driver: kind, stopped } of spec.services) {
    if (kind.kind === "external" && stopped !== true && !endpoints.has(name))
      endpoints.set(name, { address: kind.address, port: kind.port });
  }
  for (const instance of instancesOf(spec)) {
    const up = await driver.ensure(instance);
    if (!up.ok) return up;
    if (!endpoints.has(instance.service)) endpoints.set(instance.service, up.value);
  }
  return ok(endpoints);
}

/** A revision as Envoy's resources, with its services where they listen. */
export type Render = (tenant: NodeTenant, endpoints: ReadonlyMap<string, Endpoint>) => RenderedTenant;

/** With its services up: what Envoy is to be told. */
export async function unitOf(
  driver: ServiceDriver,
  render: Render,
  spec: NodeTenant,
): Promise<Result<Rendered, string>> {
  const up = await servicesUp(driver, spec);
  if (!up.ok) return up;
  const unit = encodeTenant(spec.tenantId, spec.revision, render(spec, up.value));
  return ok({ unit, endpoints: Object.fromEntries(up.value) });
}

/** Waits until all answer, or the signal ends it. */
export async function allHealthy(
  driver: ServiceDriver,
  spec: NodeTenant,
  signal: AbortSignal,
): Promise<Result<null, string>> {
  const results = await Promise.all(instancesOf(spec).map((instance) => driver.healthy(instance, signal)));
  return results.find((result) => !result.ok) ?? ok(null);
}

/** What a driver of ours runs for the revision. */
export function instancesOf({ tenantId, slug, services }: NodeTenant): ServiceInstance[] {
  return services.flatMap(({ name, workspace, driver, protocol = "http", stopped, healthPath, secrets }) =>
    driver.kind === "external" || stopped === true
      ? []
      : [{ tenantId, slug, workspace, service: name, driver, protocol, healthPath, secrets }],
  );
}
