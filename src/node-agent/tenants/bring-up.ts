import type { NodeTenant } from "../../protocol/node-channel.ts";
import type { Logger } from "../../shared/log.ts";
import { probeAnswer } from "../envoy/render.ts";
import { LIMITS } from "../limits.ts";
import type { ServiceDriver } from "../services/service-driver.ts";
import { checkTenant, type Catalogue } from "../tenant-check.ts";
import type { EnvoyAnswers } from "./envoy-answers.ts";
import type { TenantHosts } from "./hosts.ts";
import type { Ledger } from "./ledger.ts";
import { allHealthy, instancesOf, servicesUp, unitOf, type Render } from "./services.ts";
import type { Tenant } from "./tenant.ts";

interface BringUpPorts {
  readonly ledger: Ledger;
  readonly hosts: TenantHosts;
  readonly answers: EnvoyAnswers;
  readonly driver: ServiceDriver;
  readonly catalogue: Catalogue;
  readonly render: Render;
  /** On a master: what is not served here is served by the edge. */
  readonly isMaster: boolean;
  /** Whether Envoy answers for the host with `expected`; waits for it a while. */
  readonly probe: (host: string, expected: string, signal: AbortSignal) => Promise<boolean>;
  /** Another attempt at the tenant, in place of this one. */
  readonly retry: (tenantId: string) => void;
  readonly log: Logger;
}

/**
 * The way of a wanted revision: check, services up and healthy, clusters and scopes accepted by Envoy, probe through the data path. The last
 * revision that Envoy took stays served until then, and for good when this one can't be.
 */
export function createBringUp(
  ports: BringUpPorts,
): (tenant: Tenant, want: NodeTenant, signal: AbortSignal) => Promise<void> {
  const { ledger, hosts, answers, driver, log } = ports;

  /**
   * Only the last good revision is of use any more: its hosts and services are kept. A master keeps nothing: what was open then may be closed by
   * the revision that it could not take.
   */
  const fallBack = async (tenant: Tenant, signal: AbortSignal): Promise<void> => {
    if (ports.isMaster && tenant.record.good !== null) {
      tenant.goodHash = null;
      await ledger.save(tenant, { good: null });
      await answers.drops(tenant, signal);
    }
    hosts.claim(tenant, false);
    const { tenantId, good } = tenant.record;
    await driver.keepOnly(tenantId, good === null ? [] : instancesOf(good));
  };

  const isLive = async (spec: NodeTenant, signal: AbortSignal): Promise<boolean> => {
    const expected = probeAnswer(spec.tenantId, spec.revision);
    for (const host of spec.hosts) {
      while (!(await ports.probe(host.toLowerCase(), expected, signal))) {
        if (signal.aborted) return false;
        log.warn("envoy accepted a revision but does not serve it yet", { tenantId: spec.tenantId, host });
      }
    }
    return !signal.aborted;
  };

  return async (tenant, want, signal) => {
    const { tenantId } = want;
    const objection = checkTenant(want, ports.catalogue, (host) => hosts.ownerOf(host));
    if (objection !== null) {
      hosts.conflict(tenantId);
      await ledger.settle(tenant, signal, "rejected", objection);
      return fallBack(tenant, signal);
    }
    hosts.noConflict(tenantId);
    hosts.claim(tenant, true);
    const up = await servicesUp(driver, want);
    if (!up.ok) {
      if (signal.aborted) return; // Also because the agent stops: what runs goes on then.
      await ledger.settle(tenant, signal, "rejected", up.error);
      await fallBack(tenant, signal);
      // An engine that is away, or ports that are all taken, may be there again.
      setTimeout(() => signal.aborted || ports.retry(tenantId), LIMITS.serviceRetryMs).unref();
      return;
    }
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(LIMITS.serviceStartMs)]);
    let health = await allHealthy(driver, want, inTime);
    if (!health.ok && !signal.aborted) {
      // Said at once, so that nobody waits; but a service that comes up after all is taken.
      await ledger.settle(tenant, signal, "rejected", health.error);
      health = await allHealthy(driver, want, signal);
    }
    if (signal.aborted) return;
    const rendered = await unitOf(driver, ports.render, want);
    if (!rendered.ok) return ledger.settle(tenant, signal, "rejected", rendered.error);
    const { unit, endpoints } = rendered.value;
    // Envoy has said no to exactly this before.
    if (unit.hash === tenant.record.refused) return fallBack(tenant, signal);
    const outcome = await answers.takes(tenant, unit, signal);
    if (outcome === null) return;
    if (!outcome.ok) {
      if (signal.aborted) return;
      await ledger.save(tenant, { refused: unit.hash });
      await ledger.settle(tenant, signal, "rejected", outcome.error);
      return fallBack(tenant, signal);
    }
    // True whatever has come in meanwhile: this is what Envoy serves.
    tenant.goodHash = unit.hash;
    const served = { good: want, endpoints };
    const saved =
      tenant.record.state === "live" || signal.aborted
        ? ledger.save(tenant, served)
        : ledger.settle(tenant, signal, "accepted", null, served);
    if (signal.aborted) return saved;
    hosts.claim(tenant, true);
    const [isSeen] = await Promise.all([isLive(want, signal), saved]);
    if (!isSeen) return;
    if (tenant.record.state !== "live") await ledger.settle(tenant, signal, "live");
    // Only now nothing is routed to the services of earlier revisions any more.
    if (!signal.aborted) await driver.keepOnly(tenantId, instancesOf(want));
  };
}
