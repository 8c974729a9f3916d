import type { WebSocket } from "ws";
import type { ConnectorReport } from "../protocol/tunnel/session.ts";
import type { Logger } from "../shared/log.ts";
import { backoffMs, pauseMs, refusedPauseMs } from "./backoff.ts";
import type { Carrier, CarrierEvents } from "./carrier.ts";
import type { Lane } from "./config.ts";
import type { LinkLoss } from "./ending.ts";
import {
  BACKOFF_BASE_MS,
  HURRY_SPREAD_MS,
  PROOF_TIMEOUT_MS,
  RESTART_PATIENCE_MS,
  RETRY_AFTER_CAP_MS,
  STABLE_AFTER_MS,
} from "./limits.ts";

/** A refusal that asking again does not cure. */
export type FatalLoss = Extract<LinkLoss, { kind: "auth" | "version" }>;

/** The link of one lane: one dial or one socket at a time, beside older sockets that only finish what they have. */
export type LinkState =
  /** A dial is under way, or its socket has not greeted yet. */
  | { readonly t: "connecting"; readonly carrier: Carrier | null; readonly sinceMs: number; readonly abort: () => void }
  /** Requests may come. */
  | { readonly t: "ready"; readonly carrier: Carrier; readonly sinceMs: number }
  /** Until the next dial. `refused`: the relay said no for a reason that does not pass by itself. `asked`: the relay chose the pause. */
  | {
      readonly t: "waiting";
      readonly timer: NodeJS.Timeout;
      readonly refused: FatalLoss | null;
      readonly asked: boolean;
    }
  /** SIGTERM: no more dials; sockets finish. */
  | { readonly t: "draining" }
  /** For good. */
  | { readonly t: "stopped"; readonly why: string };

export interface Link {
  readonly lane: Lane;
  readonly state: LinkState;
  /** Sockets that are still there, the current one and retiring ones. */
  readonly sockets: number;
  readonly openStreams: number;
  /** Sockets that greeted, since the start. */
  readonly ups: number;
  /** Dials that failed and sockets that were lost, since the start. */
  readonly losses: number;
  /** Times in a row that the credential was refused, or ended. */
  readonly refusals: number;
  /** Last measured round trip of the current socket. */
  readonly rttMs: number | null;
  start(): void;
  announce(targets: readonly string[]): void;
  report(report: ConnectorReport): void;
  renewToken(token: string): void;
  /** The network may have changed: proves what stands, and dials anew what waits or hangs. */
  networkChanged(): void;
  /** There is another credential: a link that was refused asks again soon. */
  credentialChanged(): void;
  /** Finishes what is open within the bound, then stops. */
  drain(reason: string, withinMs: number): void;
  /** Cuts everything at once. */
  stop(why: string): void;
}

export interface LinkPorts {
  readonly dial: (events: LinkDialEvents) => () => void;
  readonly carry: (socket: WebSocket, events: LinkCarrierEvents) => Carrier;
  /** The state has changed. */
  readonly changed: () => void;
  /** Milliseconds of a clock that nobody sets. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Asked anew each time: it may be pushed. */
  readonly backoffCapMs: () => number;
}

export interface LinkDialEvents {
  opened(socket: WebSocket): void;
  failed(loss: LinkLoss): void;
}
export type LinkCarrierEvents = Pick<CarrierEvents, "ready" | "goAway" | "closed">;

export function createLink(lane: Lane, ports: LinkPorts): Link {
  const { now, random, log } = ports;
  const carriers = new Set<Carrier>();
  let attempt = 0;
  /** Until then a relay that was well may be starting again: pauses do not double. */
  let patientUntilMs = -Infinity;
  let ups = 0;
  let losses = 0;
  let refusals = 0;
  let state: LinkState = { t: "stopped", why: "not started" };

  const setState = (next: LinkState): void => {
    if (state.t === "waiting") clearTimeout(state.timer);
    state = next;
    ports.changed();
  };

  const connect = (): void => {
    const abort = ports.dial({ opened, failed: lost });
    setState({ t: "connecting", carrier: null, sinceMs: now(), abort });
  };

  const opened = (socket: WebSocket): void => {
    const carrier = ports.carry(socket, {
      ready(peer) {
        ups += 1;
        refusals = 0;
        log.info("link is up", { sessionId: peer.sessionId, relay: peer.software });
        setState({ t: "ready", carrier, sinceMs: now() });
      },
      goAway(notice) {
        log.info("the relay asks to move", { reason: notice.reason, graceMs: notice.graceMs });
        carrier.retire(notice.graceMs);
        if (state.t !== "ready" || state.carrier !== carrier) return;
        const { reconnectMinMs, reconnectMaxMs } = notice;
        wait(reconnectMinMs + random() * Math.max(0, reconnectMaxMs - reconnectMinMs), null, true);
      },
      closed(loss) {
        carriers.delete(carrier);
        // An older one may end while the next one is on its way.
        const current = (state.t === "connecting" || state.t === "ready") && state.carrier === carrier;
        if (current) return lost(loss);
        log.info("an older connection ended", { reason: loss.text });
        settleDrain();
      },
    });
    carriers.add(carrier);
    setState({ t: "connecting", carrier, sinceMs: now(), abort: () => carrier.terminate() });
  };

  const lost = (loss: LinkLoss): void => {
    if (state.t === "draining" || state.t === "stopped") return settleDrain();
    if (loss.kind === "replaced") {
      log.error("replaced by another connection with the same instance id; this lane stops", { reason: loss.text });
      return setState({ t: "stopped", why: loss.text });
    }
    if (state.t === "ready" && now() - state.sinceMs >= STABLE_AFTER_MS) {
      attempt = 0;
      patientUntilMs = now() + RESTART_PATIENCE_MS;
    }
    losses += 1;
    // Counted from the dial's start: a dial that hung has been a pause already.
    const hungMs = state.t === "connecting" ? now() - state.sinceMs : 0;
    const limits = { baseMs: BACKOFF_BASE_MS, capMs: ports.backoffCapMs() };
    const own = Math.max(0, backoffMs(attempt, limits, random) - hungMs);
    if (attempt === 0 || now() >= patientUntilMs) attempt += 1;
    if (loss.kind === "retry") {
      const pause = pauseMs(own, loss.retryAfterMs, RETRY_AFTER_CAP_MS, random);
      log.warn("link is down", { reason: loss.text, attempt, retryInMs: Math.round(pause) });
      return wait(pause, null, loss.retryAfterMs !== null);
    }
    const pause = refusedPauseMs(refusals, random);
    refusals += 1;
    log.error("refused", { reason: loss.text, retryInMs: Math.round(pause) });
    return wait(pause, loss, false);
  };

  const wait = (pause: number, refused: FatalLoss | null, asked: boolean): void => {
    setState({ t: "waiting", timer: setTimeout(connect, pause), refused, asked });
  };

  const settleDrain = (): void => {
    if (state.t === "draining" && carriers.size === 0) setState({ t: "stopped", why: "drained" });
    else ports.changed();
  };

  return {
    lane,
    get state() {
      return state;
    },
    get sockets() {
      return carriers.size;
    },
    get openStreams() {
      let count = 0;
      for (const carrier of carriers) count += carrier.openStreams;
      return count;
    },
    get ups() {
      return ups;
    },
    get losses() {
      return losses;
    },
    get refusals() {
      return refusals;
    },
    get rttMs() {
      return state.t === "ready" ? state.carrier.rttMs : null;
    },
    start: connect,
    announce(targets) {
      for (const carrier of carriers) carrier.announce(targets);
    },
    report(report) {
      for (const carrier of carriers) carrier.report(report);
    },
    renewToken(token) {
      for (const carrier of carriers) carrier.renewToken(token);
    },
    networkChanged() {
      for (const carrier of carriers) carrier.prove(PROOF_TIMEOUT_MS);
      const waits = state.t === "waiting" && state.refused === null && !state.asked;
      const hangs = state.t === "connecting" && state.carrier === null && now() - state.sinceMs >= HURRY_SPREAD_MS;
      if (!waits && !hangs) return;
      attempt = 0;
      if (state.t === "connecting") state.abort();
      wait(random() * HURRY_SPREAD_MS, null, false);
    },
    credentialChanged() {
      if (state.t === "waiting" && state.refused !== null) wait(random() * HURRY_SPREAD_MS, null, false);
    },
    drain(reason, withinMs) {
      if (state.t === "draining" || state.t === "stopped") return;
      const before = state;
      setState({ t: "draining" });
      if (before.t === "connecting") before.abort();
      for (const carrier of carriers) carrier.drain(reason, withinMs);
      settleDrain();
    },
    stop(why) {
      const before = state;
      setState({ t: "stopped", why });
      if (before.t === "connecting") before.abort();
      for (const carrier of carriers) carrier.terminate();
    },
  };
}
