import type { LaneDrain } from "../protocol/lane.ts";
import { CLOSE } from "../protocol/tunnel/close-codes.ts";
import type { Link, Links } from "./lane-links.ts";
import { DRAIN_RECONNECT_MS, DRAIN_SETTLE_MS } from "./limits.ts";

/** Empties a lane, and lets it serve again when the time is over and nobody has redeployed it. */
export interface Drain {
  /** "settling": still serves, but says that it does not. "draining": takes nothing new. */
  readonly state: "serving" | "settling" | "draining";
  /** Does nothing while one is under way. */
  begin(graceMs: number): void;
  /** Of those that were told to go. */
  progress(inFlight: number): LaneDrain;
}

/** The timers keep the object awake: what is known of the drain is in memory only, and a restart ends it. */
export function createDrain(links: Links): Drain {
  let state: Drain["state"] = "serving";
  let told: readonly Link[] = [];
  const left = (): Link[] => {
    const here = new Set(links.all());
    return told.filter((link) => here.has(link));
  };
  return {
    get state() {
      return state;
    },
    begin(graceMs) {
      if (state !== "serving") return;
      state = "settling";
      setTimeout(() => {
        state = "draining";
        told = links.goAway({
          graceMs,
          reconnectMinMs: 0,
          reconnectMaxMs: Math.min(DRAIN_RECONNECT_MS, Math.floor(graceMs / 2)),
          reason: "this lane is being drained",
        });
        setTimeout(() => {
          for (const link of left()) links.close(link, CLOSE.goneAway, "the time to drain is over");
          told = [];
          state = "serving";
        }, graceMs);
      }, DRAIN_SETTLE_MS);
    },
    progress: (inFlight) => ({ sockets: left().length, inFlight }),
  };
}
