import type { WebSocket } from "ws";
import type { Logger } from "../shared/log.ts";
import { backoffMs, pauseMs } from "./backoff.ts";
import type { Carrier, CarrierEvents } from "./carrier.ts";
import type { Lane } from "./config.ts";
import type { DialEvents } from "./dial.ts";
import type { LinkLoss } from "./ending.ts";
import { BACKOFF_BASE_MS, REFUSED_RETRY_MS, RETRY_AFTER_CAP_MS, STABLE_AFTER_MS } from "./limits.ts";

/** A refusal that asking again does not cure. */
export type FatalLoss = Extract<LinkLoss, { kind: "auth" | "version" }>;

/** The link of one lane: one dial or one socket at a time, beside older sockets that only finish what they have. */
export type LinkState =
  /** A dial is under way, or its socket has not greeted yet. */
  | { readonly t: "connecting"; readonly carrier: Carrier | null; readonly abort: () => void }
  /** Requests may come. */
  | { readonly t: "ready"; readonly carrier: Carrier; readonly sinceMs: number }
  /** Until the next dial. `refused`: the relay said no for a reason that does not pass by itself. */
  | { readonly t: "waiting"; readonly timer: NodeJS.Timeout; readonly refused: FatalLoss | null }
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
  /** Dials that failed and sockets that were lost, since the start. */
  readonly losses: number;
  /** Last measured round trip of the current socket. */
  readonly rttMs: number | null;
  start(): void;
  announce(targets: readonly string[]): void;
  /** Finishes what is open within the bound, then stops. */
  drain(reason: string, withinMs: number): void;
  /** Cuts everything at once. */
  stop(why: string): void;
}

export interface LinkPorts {
  readonly dial: (events: DialEvents) => () => void;
  readonly carry: (socket: WebSocket, events: Omit<CarrierEvents, "open">) => Carrier;
  /** The state has changed. */
  readonly changed: () => void;
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly backoffCapMs: number;
}

export function createLink(lane: Lane, ports: LinkPorts): Link {
  const { now, random, log } = ports;
  const carriers = new Set<Carrier>();
  let attempt = 0;
  let losses = 0;
  let state: LinkState = { t: "stopped", why: "not started" };

  const setState = (next: LinkState): void => {
    if (state.t === "waiting") clearTimeout(state.timer);
    state = next;
    ports.changed();
  };

  const connect = (): void => {
    const abort = ports.dial({ opened, failed: (loss) => lost(loss) });
    setState({ t: "connecting", carrier: null, abort });
  };

  const opened = (socket: WebSocket): void => {
    const carrier = ports.carry(socket, {
      ready(peer) {
        log.info("link is up", { sessionId: peer.sessionId, relay: peer.software });
        setState({ t: "ready", carrier, sinceMs: now() });
      },
      goAway(notice) {
        log.info("the relay asks to move", { reason: notice.reason, graceMs: notice.graceMs });
        carrier.retire(notice.graceMs);
        if (state.t !== "ready" || state.carrier !== carrier) return;
        const { reconnectMinMs, reconnectMaxMs } = notice;
        wait(reconnectMinMs + random() * Math.max(0, reconnectMaxMs - reconnectMinMs), null);
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
    setState({ t: "connecting", carrier, abort: () => carrier.terminate() });
  };

  const lost = (loss: LinkLoss): void => {
    if (state.t === "draining" || state.t === "stopped") return settleDrain();
    if (loss.kind === "replaced") {
      log.error("replaced by another connection with the same instance id; this lane stops", { reason: loss.text });
      return setState({ t: "stopped", why: loss.text });
    }
    if (state.t === "ready" && now() - state.sinceMs >= STABLE_AFTER_MS) attempt = 0;
    losses += 1;
    const own = backoffMs(attempt, { baseMs: BACKOFF_BASE_MS, capMs: ports.backoffCapMs }, random);
    attempt += 1;
    if (loss.kind === "retry") {
      const pause = pauseMs(own, loss.retryAfterMs, RETRY_AFTER_CAP_MS, random);
      log.warn("link is down", { reason: loss.text, attempt, retryInMs: pause });
      return wait(pause, null);
    }
    log.error("refused", { reason: loss.text });
    return wait(REFUSED_RETRY_MS * (1 + random()) + own, loss);
  };

  const wait = (pause: number, refused: FatalLoss | null): void => {
    setState({ t: "waiting", timer: setTimeout(connect, pause), refused });
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
    get losses() {
      return losses;
    },
    get rttMs() {
      return state.t === "ready" ? state.carrier.rttMs : null;
    },
    start: connect,
    announce(targets) {
      for (const carrier of carriers) carrier.announce(targets);
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
