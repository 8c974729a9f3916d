import type { ConnectorGrant, TenantSettings } from "../../protocol/lane.ts";
import { createBroker } from "../core/broker.ts";
import type { Broker, BrokerPorts } from "../core/types.ts";
import type { TenantConfig } from "./config.ts";
import { createLaneLoad, type LaneLoad, type LaneName } from "./lane-choice.ts";

/** One tenant as it is served now. `config` is that of the newest file; brokers live as long as the tenant does. */
export interface Tenant {
  readonly slug: string;
  readonly config: TenantConfig;
  readonly grants: ReadonlyMap<string, ConnectorGrant>;
  /** Null: this process does not have that lane. */
  broker(lane: LaneName): Broker | null;
  readonly load: LaneLoad;
}

export interface Tenants {
  readonly bySlug: ReadonlyMap<string, Tenant>;
  /** Every broker that may still have something to do, those of removed tenants too. */
  brokers(): Iterable<Broker>;
  /** Brings everything to a new configuration; live sockets that lost their right end at once. */
  apply(configs: readonly TenantConfig[]): void;
}

/** What a broker needs of the process; the rest is the tenant's. */
export type BrokerHost = (
  tenant: { readonly slug: string; readonly tenantId: string },
  lane: LaneName,
) => Omit<BrokerPorts, "lane" | "grants" | "settings">;

interface Running extends Tenant {
  config: TenantConfig;
  readonly grants: Map<string, ConnectorGrant>;
  readonly brokers: Partial<Record<LaneName, Broker>>;
}

export function createTenants(lanes: readonly LaneName[], host: BrokerHost): Tenants {
  const bySlug = new Map<string, Running>();
  /** Removed, with requests that still end. */
  const leaving = new Set<Broker>();

  function start(config: TenantConfig): Running {
    const grants = new Map(config.grants.map((grant) => [grant.connectorId, grant]));
    const brokers: Partial<Record<LaneName, Broker>> = {};
    const tenant: Running = {
      slug: config.slug,
      config,
      grants,
      brokers,
      broker: (lane) => brokers[lane] ?? null,
      load: createLaneLoad(),
    };
    for (const lane of lanes) {
      brokers[lane] = createBroker({ ...host(config, lane), lane, grants, settings: () => tenant.config.settings });
    }
    return tenant;
  }

  function change(tenant: Running, config: TenantConfig): void {
    const before = tenant.config;
    const brokers = Object.values(tenant.brokers);
    const settings = sameButRevision(before.settings, config.settings) ? before.settings : config.settings;
    tenant.config = { ...config, settings };
    if (settings !== before.settings) for (const broker of brokers) broker.settingsChanged(settings);
    const wanted = new Map(config.grants.map((grant) => [grant.connectorId, grant]));
    for (const connectorId of tenant.grants.keys()) {
      if (wanted.has(connectorId)) continue;
      tenant.grants.delete(connectorId);
      for (const broker of brokers) broker.grantRemoved(connectorId);
    }
    for (const [connectorId, grant] of wanted) {
      const old = tenant.grants.get(connectorId);
      // What was pushed already keeps its revision, or every connector would apply it again at each change of anything.
      const next = old?.config?.json === grant.config?.json ? { ...grant, config: old?.config ?? grant.config } : grant;
      if (old !== undefined && sameButRevision(old, next)) continue;
      tenant.grants.set(connectorId, next);
      for (const broker of brokers) broker.grantChanged(next);
    }
  }

  function end(tenant: Running): void {
    bySlug.delete(tenant.slug);
    const connectors = [...tenant.grants.keys()];
    tenant.grants.clear();
    for (const broker of Object.values(tenant.brokers)) {
      leaving.add(broker);
      for (const connectorId of connectors) broker.grantRemoved(connectorId);
    }
  }

  return {
    bySlug,
    *brokers() {
      for (const tenant of bySlug.values()) yield* Object.values(tenant.brokers);
      for (const broker of leaving) {
        yield broker;
        if (broker.inFlight === 0) leaving.delete(broker);
      }
    },
    apply(configs) {
      const wanted = new Set(configs.map(({ slug }) => slug));
      for (const tenant of bySlug.values()) if (!wanted.has(tenant.slug)) end(tenant);
      for (const config of configs) {
        const running = bySlug.get(config.slug);
        if (running === undefined) bySlug.set(config.slug, start(config));
        else change(running, config);
      }
    },
  };
}

const sameButRevision = <T extends ConnectorGrant | TenantSettings>(a: T, b: T): boolean =>
  JSON.stringify({ ...a, revision: 0 }) === JSON.stringify({ ...b, revision: 0 });
