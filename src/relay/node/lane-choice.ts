export type LaneName = "a" | "b";
export type Weight = "light" | "bulk";

/** What one tenant has under way at its lanes. */
export interface LaneLoad {
  /** The lane for a new request: away from bulk first, since a small request behind a large transfer waits for its share of the socket. */
  choose(): LaneName;
  begin(lane: LaneName): Lease;
}

export interface Lease {
  /** From here on it is a large transfer. */
  bulk(): void;
  end(): void;
}

/** Small requests that may be under way at one lane beyond those of the other: far below what a connector takes on one socket. */
const LIGHT_DIFFERENCE = 128;

export function createLaneLoad(): LaneLoad {
  const loads = { a: { light: 0, bulk: 0 }, b: { light: 0, bulk: 0 } };
  let last: LaneName = "a";
  return {
    choose() {
      const { a, b } = loads;
      const difference = a.light - b.light;
      const order = a.bulk - b.bulk || (Math.abs(difference) > LIGHT_DIFFERENCE ? difference : 0);
      // Small requests stay together: what goes in one turn to one socket is one message, one system call and one wake-up at either end.
      if (order !== 0) last = order < 0 ? "a" : "b";
      return last;
    },
    begin(lane) {
      const load = loads[lane];
      let weight: Weight | null = "light";
      load.light += 1;
      return {
        bulk() {
          if (weight !== "light") return;
          weight = "bulk";
          load.light -= 1;
          load.bulk += 1;
        },
        end() {
          if (weight !== null) load[weight] -= 1;
          weight = null;
        },
      };
    },
  };
}

export const otherLane = (lane: LaneName): LaneName => (lane === "a" ? "b" : "a");
