import type { LaneDrain } from "../../protocol/lane.ts";
import { CLOSE } from "../../protocol/tunnel/close-codes.ts";
import { DRAIN_RECONNECT_MS, DRAIN_SETTLE_MS } from "../limits.ts";
import type { Links, LiveLink } from "./links.ts";

/** Empties a lane, and lets it serve again when the time is over and nobody has redeployed it. What is known of it is in memory only. */
export interface Drain {
  /** "settling": still serves, but says that it does not. "draining": takes nothing new. */
  readonly state: "serving" | "settling" | "draining";
  /** Does nothing while one is under way. `holdMs`: goes on taking nothing for so long after the grace. */
  begin(graceMs: number, holdMs: number, nowMs: number): void;
  /** Serves again at once. Sockets that were told to go still go. */
  serve(): void;
  sweep(nowMs: number): void;
  /** Of those that were told to go. */
  progress(inFlight: number): LaneDrain;
}

type State =
  | { readonly kind: "serving" }
  | { readonly kind: "settling"; readonly untilMs: number; readonly graceMs: number; readonly holdMs: number }
  | {
      readonly kind: "draining";
      readonly untilMs: number;
      readonly holdMs: number;
      readonly told: readonly LiveLink[];
    };

export function createDrain(links: Links): Drain {
  let state: State = { kind: "serving" };
  const left = (): LiveLink[] => {
    if (state.kind === "serving") return [];
    // All will be told.
    if (state.kind === "settling") return [...links.all()];
    const here = new Set(links.all());
    return state.told.filter((link) => here.has(link));
  };
  return {
    get state() {
      return state.kind;
    },
    begin(graceMs, holdMs, nowMs) {
      if (state.kind === "serving") state = { kind: "settling", untilMs: nowMs + DRAIN_SETTLE_MS, graceMs, holdMs };
    },
    serve() {
      state = { kind: "serving" };
    },
    sweep(nowMs) {
      if (state.kind === "serving" || nowMs < state.untilMs) return;
      if (state.kind === "settling") {
        const { graceMs, holdMs } = state;
        const told = links.goAway({
          graceMs,
          reconnectMinMs: 0,
          reconnectMaxMs: Math.min(DRAIN_RECONNECT_MS, Math.floor(graceMs / 2)),
          reason: "this lane is being drained",
        });
        state = { kind: "draining", untilMs: nowMs + graceMs, holdMs, told };
        return;
      }
      for (const link of left()) links.close(link, CLOSE.goneAway, "the time to drain is over");
      const { holdMs } = state;
      state = holdMs > 0 ? { kind: "draining", untilMs: nowMs + holdMs, holdMs: 0, told: [] } : { kind: "serving" };
    },
    progress: (inFlight) => ({ sockets: left().length, inFlight }),
  };
}
