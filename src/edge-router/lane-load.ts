import { createLru } from "./lru.ts";
import type { LaneName } from "./ports.ts";

/**
 * What this isolate has under way at the two lanes of each tenant, and the choice that follows from it. Every entry is a lease that runs
 * out: when a visitor goes away the runtime drops the request's code, and nothing would be left to count it down. All calls take constant
 * time, however much is under way.
 */
export type Weight = "light" | "bulk";

/** Ends it early; a second call does nothing. */
export type EndLease = () => void;

export interface LaneLoad {
  choose(tenantId: string): LaneName;
  begin(tenantId: string, lane: LaneName, weight: Weight, lastsMs: number): EndLease;
  /** The lane did not answer: it is the last choice until that time. */
  suspect(tenantId: string, lane: LaneName, untilMs: number): void;
}

interface Lane {
  readonly light: Leases;
  readonly bulk: Leases;
  suspectUntilMs: number;
}
interface Lanes extends Readonly<Record<LaneName, Lane>> {
  /** Where small requests go as long as it makes no difference: together they share messages of the tunnel. */
  readonly home: LaneName;
}

/**
 * `maxTenants`: those that were not asked for longest are forgotten, with what they have under way. `homeSurplus`: so many more small requests
 * than the other one the lane takes that was drawn for the tenant.
 */
export function createLaneLoad(
  now: () => number,
  random: () => number,
  { maxTenants, homeSurplus }: { readonly maxTenants: number; readonly homeSurplus: number },
): LaneLoad {
  const tenants = createLru<Lanes>(maxTenants);
  const newLane = (): Lane => ({ light: createLeases(), bulk: createLeases(), suspectUntilMs: 0 });

  function lanesOf(tenantId: string): Lanes {
    const known = tenants.get(tenantId);
    if (known !== undefined) return known;
    const home: LaneName = random() < 0.5 ? "a" : "b";
    const lanes = { a: newLane(), b: newLane(), home };
    tenants.set(tenantId, lanes);
    return lanes;
  }

  return {
    choose(tenantId) {
      const { a, b, home } = lanesOf(tenantId);
      const nowMs = now();
      // Bulk counts before everything else: a small request behind a large transfer waits for its share of the socket.
      const order =
        Number(a.suspectUntilMs > nowMs) - Number(b.suspectUntilMs > nowMs) ||
        a.bulk.count(nowMs) - b.bulk.count(nowMs) ||
        a.light.count(nowMs) - b.light.count(nowMs) - (home === "a" ? homeSurplus : -homeSurplus);
      if (order === 0) return home;
      return order < 0 ? "a" : "b";
    },
    begin: (tenantId, lane, weight, lastsMs) => lanesOf(tenantId)[lane][weight].add(now() + lastsMs),
    suspect(tenantId, lane, untilMs) {
      lanesOf(tenantId)[lane].suspectUntilMs = untilMs;
    },
  };
}

/** Leases that run out in the same second are counted together. */
const SLOT_MS = 1_000;

interface Leases {
  add(untilMs: number): EndLease;
  count(nowMs: number): number;
}

function createLeases(): Leases {
  const slots = new Map<number, number>();
  let total = 0;
  let countedSlot = 0;
  return {
    add(untilMs) {
      const slot = Math.ceil(untilMs / SLOT_MS);
      slots.set(slot, (slots.get(slot) ?? 0) + 1);
      total += 1;
      let isOver = false;
      return () => {
        const held = slots.get(slot);
        if (isOver || held === undefined) return;
        isOver = true;
        slots.set(slot, held - 1);
        total -= 1;
      };
    },
    count(nowMs) {
      const slotNow = Math.floor(nowMs / SLOT_MS);
      if (slotNow !== countedSlot) {
        countedSlot = slotNow;
        for (const [slot, held] of slots) {
          if (slot > slotNow) continue;
          slots.delete(slot);
          total -= held;
        }
      }
      return total;
    },
  };
}

export const otherLane = (lane: LaneName): LaneName => (lane === "a" ? "b" : "a");
