import type { FromAgent, NodeTenant } from "../../protocol/node-channel.ts";
import type { Logger } from "../../shared/log.ts";
import { LIMITS } from "../limits.ts";
import type { HeldRemovals } from "../removal-breaker.ts";
import type { ServiceDriver } from "../services/service-driver.ts";
import type { AgentStore, TenantRecord } from "../store.ts";
import type { Catalogue } from "../tenant-check.ts";
import type { EnvoyFeed } from "../xds/feed.ts";
import type { PlannerEffect } from "../xds/planner.ts";
import { createBringUp } from "./bring-up.ts";
import { createEnvoyAnswers } from "./envoy-answers.ts";
import { createTenantHosts } from "./hosts.ts";
import { createLedger } from "./ledger.ts";
import { inLanes } from "../lanes.ts";
import { lastKnown } from "./last-known.ts";
import { unitOf, type Render, type Rendered } from "./services.ts";
import { removeUnnamed } from "./snapshot.ts";
import { newTenant, type Tenant } from "./tenant.ts";

/**
 * What becomes of each tenant on this node: check, services up and healthy, clusters and scopes accepted by Envoy, probe through the data
 * path; and the way back. Tenants don't wait for each other. The last revision that Envoy took stays served until the next one is live.
 */
export interface Tenants {
  /** Takes up what the disk knows. Afterwards the feed knows all that Envoy may hold, so an Envoy that runs is told only differences. */
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
  /** What is under way comes to its end, and nothing else is begun. */
  close(): void;
}

interface TenantsPorts {
  readonly store: AgentStore;
  readonly driver: ServiceDriver;
  readonly catalogue: Catalogue;
  readonly render: Render;
  /** On a master: what is not served here is served by the edge, so letting go is never the danger. */
  readonly isMaster: boolean;
  readonly feed: EnvoyFeed;
  /** Whether Envoy answers for the host with `expected`; waits for it a while. */
  readonly probe: (host: string, expected: string, signal: AbortSignal) => Promise<boolean>;
  readonly report: (message: FromAgent) => void;
  readonly held: HeldRemovals;
  readonly log: Logger;
}

export function createTenants(ports: TenantsPorts): Tenants {
  const { store, driver, feed, held, log } = ports;
  const tenants = new Map<string, Tenant>();

  let over = false;

  const attempt = (tenantId: string): void => {
    const tenant = tenants.get(tenantId);
    // A message that is being taken in while the agent stops is durable, and the next agent's to carry out.
    if (tenant === undefined || over) return;
    tenant.attempt.abort();
    const mine = new AbortController();
    tenant.attempt = mine;
    tenant.chain = tenant.chain
      .then(() => (mine.signal.aborted ? undefined : carryOut(tenant, mine.signal)))
      .catch((error: unknown) => {
        log.error("tenant could not be brought up", { tenantId, error: messageOf(error) });
        // A disk that was full may have room again.
        setTimeout(() => mine.signal.aborted || attempt(tenantId), LIMITS.serviceRetryMs).unref();
      });
  };

  const ledger = createLedger(store, ports.report, log);
  const hosts = createTenantHosts(attempt);
  const answers = createEnvoyAnswers(feed, log);
  const bringUp = createBringUp({ ...ports, ledger, hosts, answers, retry: attempt });

  const carryOut = (tenant: Tenant, signal: AbortSignal): Promise<void> =>
    tenant.record.want === null ? takeDown(tenant, signal) : bringUp(tenant, tenant.record.want, signal);

  const takeDown = async (tenant: Tenant, signal: AbortSignal): Promise<void> => {
    const { tenantId } = tenant.record;
    hosts.noConflict(tenantId);
    if (!(await answers.drops(tenant, signal))) return;
    await driver.keepOnly(tenantId, []);
    if (signal.aborted) return;
    await ledger.save(tenant, { state: "gone", reason: null });
    log.info("tenant removed", { tenantId, revision: tenant.record.revision });
    hosts.claim(tenant, false);
    ledger.tell(tenant);
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
    const tenant = newTenant(record);
    tenants.set(record.tenantId, tenant);
    return tenant;
  };

  const put = async (spec: NodeTenant): Promise<void> => {
    const { tenantId, revision } = spec;
    await held.letGo(tenantId);
    const found = tenants.get(tenantId);
    // What could not be written comes again with the same revision.
    if (found !== undefined && found.record.revision >= revision + (found.isKept ? 0 : 1)) {
      ledger.tell(found); // A channel that sends what is here already does not know how it stands.
      return;
    }
    const change = { want: spec, revision, state: "pending", reason: null, refused: null } as const;
    const tenant = found ?? add({ tenantId, good: null, endpoints: {}, ...change });
    // Before anything is waited for: what is under way must not speak for the new revision.
    tenant.attempt.abort();
    const good = found?.record.good ?? null;
    const saved = ledger.save(tenant, change);
    // Envoy need not wait for the disk: nothing is told of the revision before it is durable, and an agent that is cut off here is sent it again.
    attempt(tenantId);
    try {
      await saved;
    } catch (error) {
      goBack(tenant, good);
      // Said at once, so that nobody waits; it is asked for again, and taken when the disk has room.
      const reason = `the node can't keep it on its disk: ${messageOf(error)}`.slice(0, LIMITS.reasonChars);
      ports.report({ type: "report", tenantId, revision, state: "rejected", reason });
      throw error;
    }
  };

  /** To what is on disk, when a newer revision could not be written: Envoy may have that one already. */
  const goBack = (tenant: Tenant, good: NodeTenant | null): void => {
    tenant.attempt.abort();
    const back = async (): Promise<void> => {
      if (tenant.isKept) return; // Something newer was written meanwhile.
      tenant.record = { ...tenant.record, good };
      tenant.goodHash = null;
      if (good === null) return feed.remove(tenant.record.tenantId);
      const rendered = await unitOf(driver, ports.render, good);
      if (rendered.ok) takeUp(tenant, rendered.value);
    };
    tenant.chain = tenant.chain.then(back).catch((error: unknown) =>
      log.error("tenant could not be taken back", {
        tenantId: tenant.record.tenantId,
        error: messageOf(error),
      }),
    );
  };

  const remove = async (tenantId: string, revision: number): Promise<void> => {
    await held.letGo(tenantId);
    const found = tenants.get(tenantId);
    if (found !== undefined && found.record.revision > revision) return;
    if (found?.isKept === true && (found.record.state === "gone" || found.record.state === "removing")) {
      await ledger.save(found, { revision });
      return ledger.tell(found);
    }
    // Nothing of it is to be served again, so there is no good revision from now on, also for the next agent.
    const nothing = { want: null, good: null, endpoints: {}, refused: null } as const;
    const change = { ...nothing, revision, state: "removing", reason: null } as const;
    const tenant = found ?? add({ tenantId, ...change });
    tenant.attempt.abort();
    tenant.goodHash = null;
    await ledger.save(tenant, change);
    attempt(tenantId);
  };

  const takeUp = (tenant: Tenant, { unit, endpoints }: Rendered): void => {
    tenant.goodHash = unit.hash;
    tenant.record = { ...tenant.record, endpoints };
    feed.put(unit, { good: unit });
  };

  return {
    put,
    remove,
    async restore(records) {
      for (const record of records) hosts.claim(add(record), false);
      const orphaned: Tenant[] = [];
      await inLanes(tenants.values(), LIMITS.restoreAtOnce, async (tenant) => {
        const { good, want, tenantId } = tenant.record;
        if (good === null || want === null) return;
        const rendered = await unitOf(driver, ports.render, good);
        if (rendered.ok) return takeUp(tenant, rendered.value);
        log.error("a tenant's last good revision can't be brought up", { tenantId, reason: rendered.error });
        tenant.record = { ...tenant.record, state: "pending" };
        orphaned.push(tenant);
      });
      // Only now it is known which addresses are somebody else's.
      await inLanes(orphaned, LIMITS.restoreAtOnce, async (tenant) => {
        const known = await lastKnown(driver, ports.render, tenant.record);
        if (known === null) return;
        log.warn("a tenant is served at its last known addresses", { tenantId: tenant.record.tenantId });
        takeUp(tenant, known);
      });
      const present = [...tenants.values()].filter(({ record }) => record.state !== "gone");
      await driver.endStrays(new Set(present.map(({ record }) => record.tenantId)));
    },
    resume() {
      for (const { record } of tenants.values())
        if (record.state !== "live" && record.state !== "gone") attempt(record.tenantId);
    },
    async replaceAll(specs) {
      for (const spec of specs) await put(spec);
      await removeUnnamed(
        specs,
        [...tenants.values()].map(({ record }) => record),
        held,
        remove,
        !ports.isMaster,
        log,
      );
    },
    async releaseHeld() {
      for (const { tenantId, revision } of held.list()) await remove(tenantId, revision);
    },
    reportAll() {
      for (const tenant of tenants.values()) ledger.tell(tenant);
    },
    onPlanned(effect) {
      const tenant = tenants.get(effect.kind === "gone" ? effect.tenantId : effect.unit.tenantId);
      if (tenant !== undefined) answers.on(tenant, effect);
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
          const rendered = await unitOf(driver, ports.render, good);
          if (!rendered.ok) return;
          await ledger.save(tenant, { endpoints: rendered.value.endpoints });
          feed.put(rendered.value.unit);
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
      over = true;
      for (const tenant of tenants.values()) tenant.attempt.abort();
    },
  };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
