import type { LaneName } from "./ports.ts";

/** What this isolate has under way at the two lanes of each tenant, and the choice that follows from it. */
export type Weight = "light" | "bulk";

interface Load {
  light: number;
  bulk: number;
}

export interface LaneLoad {
  choose(tenantId: string): LaneName;
  /** Counts a request until the returned function is called (more calls do nothing). */
  begin(tenantId: string, lane: LaneName, weight: Weight): () => void;
  /** The lane did not answer: it is the last choice until that time. */
  suspect(tenantId: string, lane: LaneName, untilMs: number): void;
}

export function createLaneLoad(now: () => number, random: () => number): LaneLoad {
  const tenants = new Map<string, Record<LaneName, Load>>();
  const suspects = new Map<string, number>();
  const none: Load = { light: 0, bulk: 0 };

  function isSuspect(tenantId: string, lane: LaneName): boolean {
    const key = `${tenantId} ${lane}`;
    const untilMs = suspects.get(key);
    if (untilMs === undefined) return false;
    if (untilMs > now()) return true;
    suspects.delete(key);
    return false;
  }

  return {
    choose(tenantId) {
      const { a, b } = tenants.get(tenantId) ?? { a: none, b: none };
      // Bulk counts before everything else: a small request behind a large transfer waits for its share of the socket.
      const order =
        Number(isSuspect(tenantId, "a")) - Number(isSuspect(tenantId, "b")) || a.bulk - b.bulk || a.light - b.light;
      if (order === 0) return random() < 0.5 ? "a" : "b";
      return order < 0 ? "a" : "b";
    },
    begin(tenantId, lane, weight) {
      const load = tenants.get(tenantId) ?? { a: { ...none }, b: { ...none } };
      tenants.set(tenantId, load);
      load[lane][weight] += 1;
      let isOpen = true;
      return () => {
        if (!isOpen) return;
        isOpen = false;
        load[lane][weight] -= 1;
        if (load.a.light + load.a.bulk + load.b.light + load.b.bulk === 0) tenants.delete(tenantId);
      };
    },
    suspect(tenantId, lane, untilMs) {
      suspects.set(`${tenantId} ${lane}`, untilMs);
    },
  };
}

export const otherLane = (lane: LaneName): LaneName => (lane === "a" ? "b" : "a");
