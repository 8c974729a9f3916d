import type { LaneDrain } from "../../protocol/lane.ts";
import { CLOSE } from "../../protocol/tunnel/close-codes.ts";
import { DRAIN_LEAD_MS, DRAIN_RECONNECT_MS, DRAIN_SETTLE_MS } from "../limits.ts";
import type { Links, LiveLink } from "./links.ts";

/** Empties a lane, holds it empty for a while, and lets it serve again when nobody has redeployed it by then. */
export interface Drain {
  /** "settling": still serves, but says that it does not. "draining": takes nothing new, "held" neither, but there is nothing left to do. */
  readonly state: "serving" | "settling" | "draining" | "held";
  /** Does nothing while one is under way. `holdMs`: goes on taking nothing for so long after the grace. */
  begin(graceMs: number, holdMs: number): void;
  /** Serves again at once. Sockets that were told to go still go. */
  serve(): void;
  /** `isIdle`: no request is under way. */
  sweep(isIdle: boolean): void;
  /** Of those that were told to go. */
  progress(inFlight: number): LaneDrain;
}

export interface DrainPorts {
  readonly links: Links;
  /** Of a clock that never jumps. */
  readonly now: () => number;
  /** Since the epoch: a lane that is held may sleep through it. */
  readonly wallNow: () => number;
  /** Told of the sockets that are closed next, because the grace is over. */
  readonly cut: (closing: ReadonlySet<LiveLink>) => void;
  readonly hold: HoldMemory | null;
}

/** What a host that sleeps keeps of a lane that is held. */
export interface HoldMemory {
  /** As it was kept last; null: it serves. */
  readonly untilMs: number | null;
  keep(untilMs: number | null): void;
}

type State =
  | { readonly kind: "serving" }
  | { readonly kind: "settling"; readonly untilMs: number; readonly graceMs: number; readonly holdMs: number }
  | {
      readonly kind: "draining";
      readonly untilMs: number;
      readonly holdMs: number;
      readonly told: readonly LiveLink[];
    }
  | { readonly kind: "held"; readonly wallUntilMs: number };

const SERVING: State = { kind: "serving" };

export function createDrain({ links, now, wallNow, cut, hold }: DrainPorts): Drain {
  const restoredMs = hold?.untilMs ?? null;
  let state: State = restoredMs === null ? SERVING : { kind: "held", wallUntilMs: restoredMs };
  /** Needs no timer: a lane that only waits is left to sleep. */
  const current = (): State => {
    if (state.kind === "held" && wallNow() >= state.wallUntilMs) state = SERVING;
    return state;
  };
  const left = (): LiveLink[] => {
    // All will be told.
    if (state.kind === "settling") return [...links.all()];
    if (state.kind !== "draining") return [];
    const here = new Set(links.all());
    return state.told.filter((link) => here.has(link));
  };
  const holdFor = (forMs: number): void => {
    const wallUntilMs = wallNow() + forMs;
    state = { kind: "held", wallUntilMs };
    hold?.keep(wallUntilMs);
  };
  return {
    get state() {
      return current().kind;
    },
    begin(graceMs, holdMs) {
      if (current().kind === "serving") state = { kind: "settling", untilMs: now() + DRAIN_SETTLE_MS, graceMs, holdMs };
    },
    serve() {
      if (state.kind === "held") hold?.keep(null);
      state = SERVING;
    },
    sweep(isIdle) {
      if (state.kind === "serving" || state.kind === "held") return;
      const leftMs = state.untilMs - now();
      if (state.kind === "settling") {
        if (leftMs > 0) return;
        const { graceMs, holdMs } = state;
        const told = links.goAway({
          graceMs: graceMs + DRAIN_LEAD_MS,
          reconnectMinMs: 0,
          reconnectMaxMs: Math.min(DRAIN_RECONNECT_MS, Math.floor(graceMs / 2)),
          reason: "this lane is being drained",
        });
        state = { kind: "draining", untilMs: now() + graceMs, holdMs, told };
        return;
      }
      const closing = left();
      if (leftMs > 0) {
        if (isIdle && closing.length === 0) holdFor(leftMs + state.holdMs);
        return;
      }
      cut(new Set(closing));
      for (const link of closing) links.close(link, CLOSE.goneAway, "the time to drain is over");
      if (state.holdMs > 0) holdFor(state.holdMs);
      else state = SERVING;
    },
    progress: (inFlight) => ({ sockets: left().length, inFlight }),
  };
}
