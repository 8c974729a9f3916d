import type { LaneName } from "./ports.ts";

/**
 * What this isolate has under way at the two lanes of each tenant, and the choice that follows from it. Every entry is a lease that runs
 * out unless it is renewed: when a visitor goes away the runtime drops the request's code, and nothing would be left to count it down.
 */
export type Weight = "light" | "bulk";

export interface Lease {
  readonly renew: () => void;
  readonly end: () => void;
}

export interface LaneLoad {
  choose(tenantId: string): LaneName;
  begin(tenantId: string, lane: LaneName, weight: Weight): Lease;
  /** The lane did not answer: it is the last choice until that time. */
  suspect(tenantId: string, lane: LaneName, untilMs: number): void;
}

interface Entry {
  readonly weight: Weight;
  untilMs: number;
}
type Lanes = Record<LaneName, Set<Entry>>;

export function createLaneLoad(now: () => number, random: () => number, leaseMs: number): LaneLoad {
  const tenants = new Map<string, Lanes>();
  const suspects = new Map<string, number>();

  /** Counts what holds, and forgets what ran out. */
  function count(entries: Set<Entry>): Record<Weight, number> {
    const counts = { light: 0, bulk: 0 };
    const nowMs = now();
    for (const entry of entries) {
      if (entry.untilMs > nowMs) counts[entry.weight] += 1;
      else entries.delete(entry);
    }
    return counts;
  }

  function isSuspect(tenantId: string, lane: LaneName): boolean {
    const key = `${tenantId} ${lane}`;
    const untilMs = suspects.get(key);
    if (untilMs === undefined) return false;
    if (untilMs > now()) return true;
    suspects.delete(key);
    return false;
  }

  function forgetIdle(tenantId: string, lanes: Lanes): void {
    if (lanes.a.size + lanes.b.size === 0 && tenants.get(tenantId) === lanes) tenants.delete(tenantId);
  }

  return {
    choose(tenantId) {
      const lanes = tenants.get(tenantId);
      const a = count(lanes?.a ?? new Set());
      const b = count(lanes?.b ?? new Set());
      if (lanes !== undefined) forgetIdle(tenantId, lanes);
      // Bulk counts before everything else: a small request behind a large transfer waits for its share of the socket.
      const order =
        Number(isSuspect(tenantId, "a")) - Number(isSuspect(tenantId, "b")) || a.bulk - b.bulk || a.light - b.light;
      if (order === 0) return random() < 0.5 ? "a" : "b";
      return order < 0 ? "a" : "b";
    },
    begin(tenantId, lane, weight) {
      const lanes: Lanes = tenants.get(tenantId) ?? { a: new Set(), b: new Set() };
      tenants.set(tenantId, lanes);
      const entry: Entry = { weight, untilMs: now() + leaseMs };
      lanes[lane].add(entry);
      return {
        renew() {
          entry.untilMs = now() + leaseMs;
        },
        end() {
          lanes[lane].delete(entry);
          forgetIdle(tenantId, lanes);
        },
      };
    },
    suspect(tenantId, lane, untilMs) {
      suspects.set(`${tenantId} ${lane}`, untilMs);
    },
  };
}

export const otherLane = (lane: LaneName): LaneName => (lane === "a" ? "b" : "a");
