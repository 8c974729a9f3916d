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

export function createLaneLoad(): LaneLoad {
  const loads = { a: { light: 0, bulk: 0 }, b: { light: 0, bulk: 0 } };
  let last: LaneName = "b";
  return {
    choose() {
      const { a, b } = loads;
      const order = a.bulk - b.bulk || a.light - b.light;
      // Taking turns, also where nothing is under way: a connector's sockets stay equally warm.
      last = order === 0 ? otherLane(last) : order < 0 ? "a" : "b";
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
