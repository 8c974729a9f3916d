/**
 * What to send to Envoy next: a state machine without IO. Facts that it is built on (Envoy 1.40):
 * - An answer (ACK or NACK) is for a whole response, so in the steady state a response carries one tenant.
 * - Scopes are checked against the clusters that are there: clusters are acknowledged before scopes are sent, scopes go before clusters.
 * - A rejected scope response changes nothing; of a rejected cluster response parts may have been taken.
 * - What was rejected is never sent again unchanged; the tenant's last good revision stays wanted, and stays served.
 * One response is under way at a time, whatever its type, so that order needs no further thought.
 */
export type ResourceType = "cluster" | "scope";

export interface Resource {
  readonly name: string;
  /** Hash of the content. */
  readonly version: string;
  readonly bytes: Uint8Array;
}

/** One revision of a tenant, rendered. `hash` names the content of all resources. */
export interface TenantUnit {
  readonly tenantId: string;
  readonly revision: number;
  readonly hash: string;
  readonly clusters: readonly Resource[];
  readonly scopes: readonly Resource[];
}

export type PlannerEffect =
  | {
      readonly kind: "send";
      readonly type: ResourceType;
      readonly nonce: string;
      readonly resources: readonly Resource[];
      readonly removed: readonly string[];
    }
  | { readonly kind: "accepted"; readonly unit: TenantUnit }
  | { readonly kind: "rejected"; readonly unit: TenantUnit; readonly reason: string }
  | { readonly kind: "gone"; readonly tenantId: string };

export interface PlannerLimits {
  readonly bulkThreshold: number;
  readonly bulkTenants: number;
}

export interface Planner {
  /** Wants this revision served. `good` is the last one that Envoy took (from disk, after a restart); `refused` are hashes it rejected. */
  put(
    unit: TenantUnit,
    known?: { readonly good?: TenantUnit | null; readonly refused?: readonly string[] },
  ): PlannerEffect[];
  remove(tenantId: string): PlannerEffect[];
  /** First request of a type on a stream, with name -> version of all that Envoy holds. */
  subscribed(type: ResourceType, held: ReadonlyMap<string, string>): PlannerEffect[];
  /** Envoy's answer: `error` null is an ACK, otherwise Envoy's words. Answers to anything but the response under way are ignored. */
  answered(nonce: string, error: string | null): PlannerEffect[];
  /** The stream ended; what was under way is unknown until the next one tells. */
  closed(): void;
  /** Nonce of the response under way. */
  waitingFor(): string | null;
  /** Whether an Envoy is connected that has got its first answers, so that it listens. */
  serving(): boolean;
  /** Whether the connected Envoy has answered to everything: nothing is under way, and nothing waits. */
  settled(): boolean;
  /** All that is wanted, for the planner of another Envoy. */
  wants(): Wanted[];
}

/** What is wanted of one tenant, and what Envoy has said of it. */
export interface Wanted {
  readonly unit: TenantUnit;
  readonly good: TenantUnit | null;
  readonly refused: readonly string[];
}

interface Entry {
  readonly tenantId: string;
  want: TenantUnit | null;
  good: TenantUnit | null;
  readonly refused: Set<string>;
  /** Names that may be in Envoy because of this tenant. */
  readonly clusters: Set<string>;
  readonly scopes: Set<string>;
}

type Phase = "clusters" | "scopes" | "drop-clusters";
interface Group {
  readonly phase: Phase;
  readonly tenantIds: readonly string[];
}
interface Part {
  readonly entry: Entry;
  readonly unit: TenantUnit | null;
  readonly resources: readonly Resource[];
  readonly removed: readonly string[];
}

/** Owner of names that Envoy holds and no tenant knows (left by an earlier life of the agent). No tenant id looks like it. */
const ORPHANS = "";

export function createPlanner(limits: PlannerLimits): Planner {
  const entries = new Map<string, Entry>();
  /** How many tenants have a cluster among their names: a master's tenants share those of their nodes. */
  const clusterUsers = new Map<string, number>();
  /** Tenants that may need something, oldest first. */
  const dirty = new Set<string>();
  const held: Record<ResourceType, Map<string, string>> = { cluster: new Map(), scope: new Map() };
  const live: Record<ResourceType, boolean> = { cluster: false, scope: false };
  /** A type that Envoy holds nothing of waits for an answer, be it an empty one. */
  const unanswered: Record<ResourceType, boolean> = { cluster: false, scope: false };
  let groups: Group[] = [];
  let underWay: { readonly nonce: string; readonly phase: Phase; readonly parts: readonly Part[] } | null = null;
  let nonces = 0;

  const entryOf = (tenantId: string): Entry => {
    const found = entries.get(tenantId);
    if (found !== undefined) return found;
    const made: Entry = {
      tenantId,
      want: null,
      good: null,
      refused: new Set(),
      clusters: new Set(),
      scopes: new Set(),
    };
    entries.set(tenantId, made);
    return made;
  };

  /** The revision to bring to Envoy: the wanted one unless Envoy refused it, then the last good one. */
  const target = (entry: Entry): TenantUnit | null => {
    for (const unit of [entry.want, entry.good]) if (unit !== null && !entry.refused.has(unit.hash)) return unit;
    return null;
  };

  const useCluster = (entry: Entry, name: string): void => {
    if (entry.clusters.has(name)) return;
    entry.clusters.add(name);
    clusterUsers.set(name, (clusterUsers.get(name) ?? 0) + 1);
  };
  const leaveClusters = (entry: Entry): void => {
    for (const name of entry.clusters) {
      const left = (clusterUsers.get(name) ?? 1) - 1;
      if (left > 0) clusterUsers.set(name, left);
      else clusterUsers.delete(name);
    }
    entry.clusters.clear();
  };

  const remember = (entry: Entry, unit: TenantUnit): void => {
    for (const { name } of unit.clusters) useCluster(entry, name);
    for (const { name } of unit.scopes) entry.scopes.add(name);
  };

  const missing = (type: ResourceType, resources: readonly Resource[]): Resource[] =>
    resources.filter(({ name, version }) => held[type].get(name) !== version);

  /** Name -> tenant of all scopes that some target has: a host that moved to another tenant is replaced, not removed. */
  const scopeOwners = (): Map<string, string> => {
    const owners = new Map<string, string>();
    for (const entry of entries.values())
      for (const { name } of target(entry)?.scopes ?? []) owners.set(name, entry.tenantId);
    return owners;
  };

  const part = (entry: Entry, phase: Phase, owners: () => Map<string, string>): Part | null => {
    const unit = target(entry);
    if (phase === "clusters") {
      const resources = missing("cluster", unit?.clusters ?? []);
      return resources.length === 0 ? null : { entry, unit, resources, removed: [] };
    }
    if (phase === "scopes") {
      // A tenant that changed while its part of a rejected response waited for its turn has clusters to send first.
      if (missing("cluster", unit?.clusters ?? []).length > 0) return null;
      const resources = missing("scope", unit?.scopes ?? []);
      const own = new Set(unit?.scopes.map(({ name }) => name));
      const surplus = [...entry.scopes].filter((name) => !own.has(name) && held.scope.has(name));
      const removed = surplus.length === 0 ? [] : surplus.filter((name) => !owners().has(name));
      return resources.length + removed.length === 0 ? null : { entry, unit, resources, removed };
    }
    const own = new Set(unit?.clusters.map(({ name }) => name));
    // What another tenant may still route to stays; the last one to leave it takes it along.
    const isAlone = (name: string): boolean => (clusterUsers.get(name) ?? 0) <= 1;
    const removed = [...entry.clusters].filter((name) => !own.has(name) && held.cluster.has(name) && isAlone(name));
    return removed.length === 0 ? null : { entry, unit, resources: [], removed };
  };

  const send = (phase: Phase, parts: readonly Part[]): PlannerEffect => {
    const type = phase === "scopes" ? "scope" : "cluster";
    const nonce = String(++nonces);
    underWay = { nonce, phase, parts };
    unanswered[type] = false;
    // From now on Envoy may hold them in part, until it has answered.
    // Envoy takes no name twice in a response, and tenants may share clusters.
    const resources = new Map(parts.flatMap((each) => each.resources).map((each) => [each.name, each]));
    for (const name of resources.keys()) if (!held[type].has(name)) held[type].set(name, "");
    const removed = new Set(parts.flatMap((each) => each.removed));
    return { kind: "send", type, nonce, resources: [...resources.values()], removed: [...removed] };
  };

  const collect = (phase: Phase, tenantIds: Iterable<string>, limit: number): Part[] => {
    const parts: Part[] = [];
    let owners: Map<string, string> | null = null;
    for (const tenantId of tenantIds) {
      const entry = entries.get(tenantId);
      const found = entry === undefined ? null : part(entry, phase, () => (owners ??= scopeOwners()));
      if (found !== null) parts.push(found);
      if (parts.length >= limit) break;
    }
    return parts;
  };

  /** What of one tenant comes next; "done" when nothing is left, "blocked" when it must wait for Envoy to ask for scopes. */
  const settle = (entry: Entry): PlannerEffect[] => {
    const clusters = collect("clusters", [entry.tenantId], 1);
    if (clusters.length > 0) return [send("clusters", clusters)];
    if (!live.scope) return [];
    const scopes = collect("scopes", [entry.tenantId], 1);
    if (scopes.length > 0) return [send("scopes", scopes)];
    const effects = announce(entry);
    const drops = collect("drop-clusters", [entry.tenantId], 1);
    if (drops.length > 0) return [...effects, send("drop-clusters", drops)];
    dirty.delete(entry.tenantId);
    forgetNames(entry);
    if (target(entry) === null && entry.want === null) {
      entries.delete(entry.tenantId);
      if (entry.tenantId !== ORPHANS) effects.push({ kind: "gone", tenantId: entry.tenantId });
    }
    return effects;
  };

  const announce = (entry: Entry): PlannerEffect[] => {
    const unit = target(entry);
    if (unit === null || unit !== entry.want || entry.good?.hash === unit.hash) return [];
    entry.good = unit;
    return [{ kind: "accepted", unit }];
  };

  const forgetNames = (entry: Entry): void => {
    leaveClusters(entry);
    entry.scopes.clear();
    const unit = target(entry);
    if (unit !== null) remember(entry, unit);
    // A refused revision's names can only come back with another content.
  };

  const next = (): PlannerEffect[] => {
    const effects: PlannerEffect[] = [];
    for (;;) {
      if (underWay !== null || !live.cluster) return effects;
      const group = groups.shift();
      if (group !== undefined) {
        const parts = collect(group.phase, group.tenantIds, group.tenantIds.length);
        if (parts.length > 0) effects.push(send(group.phase, parts));
        continue;
      }
      if (unanswered.cluster || unanswered.scope || dirty.size > limits.bulkThreshold) {
        const bulk = nextBulk();
        if (bulk !== null) {
          effects.push(bulk);
          continue;
        }
      }
      const before = effects.length;
      const size = dirty.size;
      for (const tenantId of dirty) {
        const entry = entries.get(tenantId);
        if (entry === undefined) dirty.delete(tenantId);
        else effects.push(...settle(entry));
        if (underWay !== null) break;
      }
      if (effects.length === before && dirty.size === size) return effects;
    }
  };

  const nextBulk = (): PlannerEffect | null => {
    const clusters = collect("clusters", dirty, limits.bulkTenants);
    if (clusters.length > 0 || unanswered.cluster) return send("clusters", clusters);
    if (!live.scope) return null;
    const scopes = collect("scopes", dirty, limits.bulkTenants);
    return scopes.length > 0 || unanswered.scope ? send("scopes", scopes) : null;
  };

  const acknowledged = (phase: Phase, parts: readonly Part[]): void => {
    const type = phase === "scopes" ? "scope" : "cluster";
    for (const { resources, removed } of parts) {
      for (const { name, version } of resources) held[type].set(name, version);
      for (const name of removed) held[type].delete(name);
    }
  };

  const refuse = (phase: Phase, parts: readonly Part[], reason: string): PlannerEffect[] => {
    const [only, ...others] = parts;
    if (phase === "drop-clusters") {
      acknowledged(phase, parts); // Envoy has no way to refuse a removal; don't ask again.
      return [];
    }
    if (only === undefined) return [];
    if (others.length > 0) {
      const ids = parts.map(({ entry }) => entry.tenantId);
      const middle = Math.ceil(ids.length / 2);
      groups.unshift({ phase, tenantIds: ids.slice(0, middle) }, { phase, tenantIds: ids.slice(middle) });
      return [];
    }
    const { entry, unit } = only;
    dirty.add(entry.tenantId);
    if (unit === null) return [];
    entry.refused.add(unit.hash);
    if (entry.good?.hash === unit.hash) entry.good = null;
    return [{ kind: "rejected", unit, reason }];
  };

  const serving = (): boolean => live.cluster && live.scope && !unanswered.cluster && !unanswered.scope;

  return {
    put(unit, known = {}) {
      const entry = entryOf(unit.tenantId);
      entry.want = unit;
      if (known.good !== undefined) entry.good = known.good;
      for (const hash of known.refused ?? []) entry.refused.add(hash);
      if (entry.good !== null) remember(entry, entry.good);
      remember(entry, unit);
      dirty.add(unit.tenantId);
      return next();
    },
    remove(tenantId) {
      const entry = entries.get(tenantId);
      if (entry === undefined) return [{ kind: "gone", tenantId }];
      entry.want = null;
      entry.good = null;
      dirty.add(tenantId);
      return next();
    },
    subscribed(type, names) {
      live[type] = true;
      held[type] = new Map(names);
      unanswered[type] = names.size === 0;
      const known = new Set<string>();
      for (const entry of entries.values()) {
        for (const name of type === "cluster" ? entry.clusters : entry.scopes) known.add(name);
        dirty.add(entry.tenantId);
      }
      const orphans = entryOf(ORPHANS);
      for (const name of names.keys()) {
        if (known.has(name)) continue;
        if (type === "cluster") useCluster(orphans, name);
        else orphans.scopes.add(name);
      }
      dirty.add(ORPHANS);
      return next();
    },
    answered(nonce, error) {
      if (underWay === null || underWay.nonce !== nonce) return [];
      const { phase, parts } = underWay;
      underWay = null;
      if (error === null) {
        acknowledged(phase, parts);
        return next();
      }
      return [...refuse(phase, parts, error), ...next()];
    },
    closed() {
      live.cluster = false;
      live.scope = false;
      unanswered.cluster = false;
      unanswered.scope = false;
      groups = [];
      underWay = null;
    },
    waitingFor: () => underWay?.nonce ?? null,
    serving,
    settled: () => serving() && underWay === null && groups.length === 0 && dirty.size === 0,
    wants: () =>
      [...entries.values()].flatMap(({ want, good, refused }) =>
        want === null ? [] : [{ unit: want, good, refused: [...refused] }],
      ),
  };
}
