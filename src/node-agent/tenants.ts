import type { FromAgent, NodeTenant } from "../protocol/node-channel.ts";
import type { Logger } from "../shared/log.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { probeAnswer, renderTenant, type Endpoint } from "./envoy/render.ts";
import { createHostClaims } from "./host-claims.ts";
import { LIMITS } from "./limits.ts";
import { isMassRemoval, type HeldRemovals } from "./removal-breaker.ts";
import type { ServiceDriver, ServiceInstance } from "./services/service-driver.ts";
import type { AgentStore, TenantRecord } from "./store.ts";
import { checkTenant, type Catalogue } from "./tenant-check.ts";
import { encodeTenant } from "./xds/codec.ts";
import type { Planner, PlannerEffect, TenantUnit } from "./xds/planner.ts";

/**
 * What becomes of each tenant on this node: check, services up and healthy, clusters and scopes accepted by Envoy, probe through the data
 * path; and the way back. Tenants don't wait for each other. The last revision that Envoy took stays served until the next one is live.
 */
export interface Tenants {
  /** Takes up what the disk knows. Afterwards the planner knows all that Envoy may hold, so an Envoy that runs is told only differences. */
  restore(records: readonly TenantRecord[]): Promise<void>;
  /** After the xDS server is up: goes on with whatever was not finished. */
  resume(): void;
  /** Durable when it returns; carried out afterwards. An older revision than the one held changes nothing. */
  put(tenant: NodeTenant): Promise<void>;
  remove(tenantId: string, revision: number): Promise<void>;
  /** A complete snapshot: tenants that it does not name are removed, or held when they are too many to be true. */
  replaceAll(tenants: readonly NodeTenant[]): Promise<void>;
  /** Removes what was held. */
  releaseHeld(): Promise<void>;
  /** Tells the channel every settled state; for each new connection, since the last one may have lost reports. */
  reportAll(): void;
  onPlanned(effect: Exclude<PlannerEffect, { kind: "send" }>): void;
  onServiceMoved(tenantId: string): void;
  counts(): Record<TenantRecord["state"], number>;
  close(): void;
}

export interface TenantsPorts {
  readonly store: AgentStore;
  readonly driver: ServiceDriver;
  readonly catalogue: Catalogue;
  readonly planner: Planner;
  /** Carries out the planner's effects. */
  readonly run: (effects: readonly PlannerEffect[]) => void;
  /** Whether Envoy answers for the host with `expected`; waits for it a while. */
  readonly probe: (host: string, expected: string, signal: AbortSignal) => Promise<boolean>;
  readonly report: (message: FromAgent) => void;
  readonly held: HeldRemovals;
  readonly log: Logger;
}

interface Rendered {
  readonly unit: TenantUnit;
  readonly endpoints: TenantRecord["endpoints"];
}

interface Tenant {
  record: TenantRecord;
  /** Ends the attempt under way when something newer comes. */
  attempt: AbortController;
  /** Attempts of one tenant run one after another. */
  chain: Promise<void>;
  /** Hash of the unit that Envoy has of `record.good`. */
  goodHash: string | null;
  waiting: { readonly hash: string; readonly settle: (outcome: Result<null, string>) => void } | null;
  onGone: (() => void) | null;
}

export function createTenants(ports: TenantsPorts): Tenants {
  const { store, driver, planner, run, held, log } = ports;
  const tenants = new Map<string, Tenant>();
  const hosts = createHostClaims();
  /** Tenants whose newest revision was refused because another tenant had one of its hosts. */
  const conflicted = new Set<string>();

  const claimHosts = (tenant: Tenant, alsoWanted: boolean): void => {
    const { tenantId, good, want } = tenant.record;
    const freed = hosts.claim(tenantId, [...(good?.hosts ?? []), ...(alsoWanted ? (want?.hosts ?? []) : [])]);
    if (!freed) return;
    for (const other of conflicted) if (other !== tenantId) attempt(other);
  };

  const save = async (tenant: Tenant, change: Partial<TenantRecord>): Promise<void> => {
    tenant.record = { ...tenant.record, ...change };
    await store.saveTenant(tenant.record);
  };

  const tell = ({ record }: Tenant): void => {
    const { tenantId, revision, state, reason } = record;
    if (state === "gone") ports.report({ type: "removed", tenantId, revision });
    else if (state === "accepted" || state === "live" || state === "rejected") {
      ports.report({ type: "report", tenantId, revision, state, reason });
    }
  };

  /** Says how the newest revision stands; nothing once the attempt is out of date, for then the newest is another one. */
  const settle = async (
    tenant: Tenant,
    signal: AbortSignal,
    state: "accepted" | "live" | "rejected",
    reason: string | null = null,
  ): Promise<void> => {
    if (signal.aborted) return;
    const short = reason === null ? null : reason.slice(0, LIMITS.reasonChars);
    const { tenantId, revision } = tenant.record;
    if (state === "rejected" && tenant.record.state === state && tenant.record.reason === short) return; // said before
    if (state === "rejected") log.warn("tenant revision rejected", { tenantId, revision, reason: short });
    else log.info(`tenant revision ${state}`, { tenantId, revision });
    await save(tenant, { state, reason: short });
    tell(tenant);
  };

  /** Starts (or finds) the tenant's services; where each route's service listens. */
  const servicesUp = async (spec: NodeTenant): Promise<Result<Map<string, Endpoint>, string>> => {
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
  };

  const unitOf = async (spec: NodeTenant): Promise<Result<Rendered, string>> => {
    const up = await servicesUp(spec);
    if (!up.ok) return up;
    const unit = encodeTenant(spec.tenantId, spec.revision, renderTenant(spec, up.value));
    return ok({ unit, endpoints: Object.fromEntries(up.value) });
  };

  const allHealthy = async (spec: NodeTenant, signal: AbortSignal): Promise<Result<null, string>> => {
    const results = await Promise.all(instancesOf(spec).map((instance) => driver.healthy(instance, signal)));
    return results.find((result) => !result.ok) ?? ok(null);
  };

  const attempt = (tenantId: string): void => {
    const tenant = tenants.get(tenantId);
    if (tenant === undefined) return;
    tenant.attempt.abort();
    const mine = new AbortController();
    tenant.attempt = mine;
    tenant.chain = tenant.chain
      .then(() => (mine.signal.aborted ? undefined : carryOut(tenant, mine.signal)))
      .catch((error: unknown) =>
        log.error("tenant could not be brought up", {
          tenantId,
          error: error instanceof Error ? error.message : String(error),
        }),
      );
  };

  const carryOut = (tenant: Tenant, signal: AbortSignal): Promise<void> =>
    tenant.record.want === null ? takeDown(tenant, signal) : bringUp(tenant, tenant.record.want, signal);

  const bringUp = async (tenant: Tenant, want: NodeTenant, signal: AbortSignal): Promise<void> => {
    const { tenantId } = want;
    const objection = checkTenant(want, ports.catalogue, (host) => hosts.ownerOf(host));
    if (objection !== null) {
      conflicted.add(tenantId);
      await settle(tenant, signal, "rejected", objection);
      return fallBack(tenant);
    }
    conflicted.delete(tenantId);
    claimHosts(tenant, true);
    const up = await servicesUp(want);
    if (!up.ok) {
      await settle(tenant, signal, "rejected", up.error);
      await fallBack(tenant);
      // An engine that is away, or ports that are all taken, may be there again.
      setTimeout(() => signal.aborted || attempt(tenantId), LIMITS.serviceRetryMs).unref();
      return;
    }
    let health = await allHealthy(want, AbortSignal.any([signal, AbortSignal.timeout(LIMITS.serviceStartMs)]));
    if (!health.ok && !signal.aborted) {
      // Said at once, so that nobody waits; but a service that comes up after all is taken.
      await settle(tenant, signal, "rejected", health.error);
      health = await allHealthy(want, signal);
    }
    if (signal.aborted) return;
    const rendered = await unitOf(want);
    if (!rendered.ok) return settle(tenant, signal, "rejected", rendered.error);
    const { unit, endpoints } = rendered.value;
    // Envoy has said no to exactly this before.
    if (unit.hash === tenant.record.refused) return fallBack(tenant);
    const outcome = await envoyTakes(tenant, unit, signal);
    if (outcome === null) return;
    if (!outcome.ok) {
      if (signal.aborted) return;
      await save(tenant, { refused: unit.hash });
      await settle(tenant, signal, "rejected", outcome.error);
      return fallBack(tenant);
    }
    // True whatever has come in meanwhile: this is what Envoy serves.
    tenant.goodHash = unit.hash;
    await save(tenant, { good: want, endpoints });
    if (tenant.record.state !== "live") await settle(tenant, signal, "accepted");
    if (signal.aborted) return;
    claimHosts(tenant, true);
    if (!(await isLive(want, signal))) return;
    if (tenant.record.state !== "live") await settle(tenant, signal, "live");
    // Only now nothing is routed to the services of earlier revisions any more.
    if (!signal.aborted) await driver.keepOnly(tenantId, instancesOf(want));
  };

  /** Only the last good revision is of use any more: its hosts and services are kept. */
  const fallBack = async (tenant: Tenant): Promise<void> => {
    claimHosts(tenant, false);
    const { tenantId, good } = tenant.record;
    await driver.keepOnly(tenantId, good === null ? [] : instancesOf(good));
  };

  /** Envoy's answer to the unit; null when something newer came first. */
  const envoyTakes = (tenant: Tenant, unit: TenantUnit, signal: AbortSignal): Promise<Result<null, string> | null> => {
    if (signal.aborted) return Promise.resolve(null);
    if (tenant.goodHash === unit.hash) return Promise.resolve(ok(null));
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => resolve(null), { once: true });
      tenant.waiting = { hash: unit.hash, settle: resolve };
      run(planner.put(unit));
    });
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

  const takeDown = async (tenant: Tenant, signal: AbortSignal): Promise<void> => {
    const { tenantId } = tenant.record;
    conflicted.delete(tenantId);
    const gone = await new Promise<boolean>((resolve) => {
      signal.addEventListener("abort", () => resolve(false), { once: true });
      tenant.onGone = () => resolve(true);
      run(planner.remove(tenantId));
    });
    if (!gone) return;
    await driver.keepOnly(tenantId, []);
    if (signal.aborted) return;
    await save(tenant, { state: "gone", reason: null });
    log.info("tenant removed", { tenantId, revision: tenant.record.revision });
    claimHosts(tenant, false);
    tell(tenant);
    await boundTombstones();
  };

  const boundTombstones = async (): Promise<void> => {
    const gone = [...tenants.values()].filter(({ record }) => record.state === "gone");
    for (const { record } of gone.slice(0, Math.max(gone.length - LIMITS.tombstones, 0))) {
      tenants.delete(record.tenantId);
      await store.forgetTenant(record.tenantId);
    }
  };

  const add = (record: TenantRecord): Tenant => {
    const tenant: Tenant = {
      record,
      attempt: new AbortController(),
      chain: Promise.resolve(),
      goodHash: null,
      waiting: null,
      onGone: null,
    };
    tenants.set(record.tenantId, tenant);
    return tenant;
  };

  const put = async (spec: NodeTenant): Promise<void> => {
    const { tenantId, revision } = spec;
    await held.letGo(tenantId);
    const found = tenants.get(tenantId);
    if (found !== undefined && found.record.revision >= revision) {
      tell(found); // A channel that sends what is here already does not know how it stands.
      return;
    }
    const change = { want: spec, revision, state: "pending", reason: null, refused: null } as const;
    const tenant = found ?? add({ tenantId, good: null, endpoints: {}, ...change });
    // Before anything is waited for: what is under way must not speak for the new revision.
    tenant.attempt.abort();
    await save(tenant, change);
    attempt(tenantId);
  };

  const remove = async (tenantId: string, revision: number): Promise<void> => {
    await held.letGo(tenantId);
    const found = tenants.get(tenantId);
    if (found !== undefined && found.record.revision > revision) return;
    if (found?.record.state === "gone" || found?.record.state === "removing") {
      await save(found, { revision });
      return tell(found);
    }
    // Nothing of it is to be served again, so there is no good revision from now on, also for the next agent.
    const change = {
      want: null,
      good: null,
      endpoints: {},
      refused: null,
      revision,
      state: "removing",
      reason: null,
    } as const;
    const tenant = found ?? add({ tenantId, ...change });
    tenant.attempt.abort();
    tenant.goodHash = null;
    await save(tenant, change);
    attempt(tenantId);
  };

  return {
    put,
    remove,
    async restore(records) {
      for (const record of records) {
        const tenant = add(record);
        if (record.good === null || record.want === null) continue;
        claimHosts(tenant, false);
        const rendered = await unitOf(record.good);
        if (!rendered.ok) {
          const { error: reason } = rendered;
          log.error("a tenant's last good revision can't be served", { tenantId: record.tenantId, reason });
          tenant.record = { ...record, state: "pending" };
          continue;
        }
        const { unit, endpoints } = rendered.value;
        tenant.goodHash = unit.hash;
        tenant.record = { ...record, endpoints };
        run(planner.put(unit, { good: unit }));
      }
      const present = [...tenants.values()].filter(({ record }) => record.state !== "gone");
      await driver.endStrays(new Set(present.map(({ record }) => record.tenantId)));
    },
    resume() {
      for (const { record } of tenants.values())
        if (record.state !== "live" && record.state !== "gone") attempt(record.tenantId);
    },
    async replaceAll(specs) {
      const named = new Set(specs.map(({ tenantId }) => tenantId));
      for (const spec of specs) await put(spec);
      const present = [...tenants.values()].map(({ record }) => record).filter(({ want }) => want !== null);
      const missing = present.filter(({ tenantId }) => !named.has(tenantId));
      const isHeld = isMassRemoval(present.length, missing.length);
      if (isHeld)
        log.error("a snapshot leaves out too many tenants to be believed: they stay until somebody confirms", {
          present: present.length,
          missing: missing.length,
          confirm: "causeway node removals --confirm",
        });
      await held.replace(
        isHeld ? missing.map(({ tenantId, want, revision }) => ({ tenantId, slug: want?.slug ?? "", revision })) : [],
      );
      if (!isHeld) for (const { tenantId, revision } of missing) await remove(tenantId, revision);
    },
    async releaseHeld() {
      for (const { tenantId, revision } of held.list()) await remove(tenantId, revision);
    },
    reportAll() {
      for (const tenant of tenants.values()) tell(tenant);
    },
    onPlanned(effect) {
      const tenant = tenants.get(effect.kind === "gone" ? effect.tenantId : effect.unit.tenantId);
      if (tenant === undefined) return;
      if (effect.kind === "gone") return tenant.onGone?.();
      const { hash, revision } = effect.unit;
      if (tenant.waiting?.hash === hash) {
        const { settle: answer } = tenant.waiting;
        tenant.waiting = null;
        return answer(effect.kind === "accepted" ? ok(null) : err(effect.reason));
      }
      if (effect.kind === "accepted" && revision === tenant.record.good?.revision) tenant.goodHash = hash;
      if (effect.kind === "rejected") {
        log.error("envoy refused a revision that it had taken before", {
          tenantId: effect.unit.tenantId,
          reason: effect.reason,
        });
      }
    },
    onServiceMoved(tenantId) {
      const tenant = tenants.get(tenantId);
      if (tenant === undefined) return;
      const { good, want } = tenant.record;
      if (good !== null && want !== null && good.revision !== want.revision) {
        // Both the served revision and the wanted one have a new address for the service.
        const earlier = tenant.chain;
        tenant.chain = (async () => {
          await earlier;
          const rendered = await unitOf(good);
          if (!rendered.ok) return;
          await save(tenant, { endpoints: rendered.value.endpoints });
          run(planner.put(rendered.value.unit));
        })();
      }
      attempt(tenantId);
    },
    counts() {
      const counts = { pending: 0, accepted: 0, live: 0, rejected: 0, removing: 0, gone: 0 };
      for (const { record } of tenants.values()) counts[record.state]++;
      return counts;
    },
    close() {
      for (const tenant of tenants.values()) tenant.attempt.abort();
    },
  };
}

function instancesOf({ tenantId, slug, services }: NodeTenant): ServiceInstance[] {
  return services.flatMap(({ name, workspace, driver, protocol = "http", stopped, healthPath, secrets }) =>
    driver.kind === "external" || stopped === true
      ? []
      : [{ tenantId, slug, workspace, service: name, driver, protocol, healthPath, secrets }],
  );
}
