import type { RawData, WebSocket } from "ws";
import { CLOSE } from "../protocol/tunnel/close-codes.ts";
import {
  createSession,
  type ByteBudget,
  type ConfigAck,
  type ConnectorReport,
  type GoAway,
  type OpenRequest,
  type PeerHello,
  type PushedConfig,
  type Stream,
  type StreamEvents,
} from "../protocol/tunnel/session.ts";
import { lossOfClose, type LinkLoss } from "./ending.ts";
import { heartbeat } from "./heartbeat.ts";
import {
  CLOSE_TIMEOUT_MS,
  DRAIN_POLL_MS,
  HEARTBEAT_TICK_MS,
  HELLO_TIMEOUT_MS,
  MESSAGES_A_TURN,
  SEND_LIMITS,
  SESSION_LIMITS,
  SOCKET_HIGH_WATER_BYTES,
  STREAM_WINDOW_MAX_BYTES,
} from "./limits.ts";
import { sendMessage } from "./send-message.ts";
import type { Slabs } from "../shared/slabs.node.ts";

/** One socket with its session: moves messages both ways, finds out when it is dead, and ends it in order. */
export interface Carrier {
  readonly openStreams: number;
  readonly rttMs: number | null;
  /** The whole new list of targets. */
  announce(targets: readonly string[]): void;
  /** Health and load. */
  report(report: ConnectorReport): void;
  /** A new token before the old one runs out. */
  renewToken(token: string): void;
  acknowledge(ack: ConfigAck): void;
  /** Asks for an echo now, and cuts the socket when nothing has come within the time: the network may have changed under it. */
  prove(withinMs: number): void;
  /** Tells the relay to send nothing new, waits for the open streams up to the bound, then closes. */
  drain(reason: string, withinMs: number): void;
  /** As `drain`, for a relay that asked for it by itself. */
  retire(withinMs: number): void;
  /** Cuts it. */
  terminate(): void;
}

export interface CarrierOptions {
  readonly socket: WebSocket;
  readonly instanceId: string;
  readonly targets: readonly string[];
  readonly software: string;
  readonly budget: ByteBudget;
  readonly slabs: Slabs;
  /** Bytes went out or came in. */
  readonly passed: (bytes: number) => void;
  /** Milliseconds of a clock that nobody sets. */
  readonly now: () => number;
  /** Asked anew each time: it may be pushed. Null: the default. */
  readonly keepAliveMs: () => number | null;
}

export interface CarrierEvents {
  /** The relay's HELLO came: requests may follow. */
  ready(peer: PeerHello): void;
  open(stream: Stream, request: OpenRequest): StreamEvents;
  tokenAccepted(lifetimeMs: number): void;
  config(config: PushedConfig): void;
  /** The relay will go away: dial another one while this one finishes. */
  goAway(notice: GoAway): void;
  /** Once, last. */
  closed(loss: LinkLoss): void;
}

export function createCarrier(options: CarrierOptions, events: CarrierEvents): Carrier {
  const { socket, slabs, passed, now } = options;
  let blocked = false;
  let echoAskedMs: number | null = null;
  let pingAskedMs: number | null = null;
  let lastPongMs = now();
  let replaced: string | null = null;
  let ourEnd: { code: number; reason: string } | null = null;
  let finishing: NodeJS.Timeout | null = null;
  let finishUntilMs = Infinity;
  let closed = false;
  // Nothing may follow our HELLO before the relay's has come.
  let unannounced: readonly string[] | null = null;
  let unreported: ConnectorReport | null = null;
  let proof: NodeJS.Timeout | null = null;

  const session = createSession({
    role: "connector",
    now,
    limits: SESSION_LIMITS,
    streamWindowMaxBytes: STREAM_WINDOW_MAX_BYTES,
    send: SEND_LIMITS,
    identity: {
      instanceId: options.instanceId,
      targets: options.targets,
      sessionId: "",
      software: options.software,
    },
    budget: options.budget,
    allocate: (bytes) => slabs.allocate(bytes),
    events: {
      // One message per turn of the event loop: measured a fifth to a quarter less CPU than one per frame or per microtask.
      flushNeeded: () => void setImmediate(flush, MESSAGES_A_TURN),
      hello(peer) {
        clearTimeout(greeting);
        if (unannounced !== null) session.announceTargets(unannounced);
        if (unreported !== null) session.report(unreported);
        events.ready(peer);
      },
      open: (stream, request) => events.open(stream, request),
      goAway: (notice) => events.goAway(notice),
      tokenAccepted: (lifetimeMs) => events.tokenAccepted(lifetimeMs),
      config: (config) => events.config(config),
      replaced(reason) {
        replaced = reason;
      },
      pong() {
        echoAskedMs = null;
      },
      failed: ({ closeCode, reason }) => close(closeCode, reason),
    },
  });

  /** The rest follows in the next turn: what was sent is given back between turns, so that a burst of many streams takes few slabs. */
  function flush(messages: number): void {
    for (let left = messages; socket.readyState === socket.OPEN; left--) {
      if (left === 0) return void setImmediate(flush, MESSAGES_A_TURN);
      if (socket.bufferedAmount >= SOCKET_HIGH_WATER_BYTES) {
        blocked = true;
        return;
      }
      const message = session.takeMessage();
      if (message === null) return;
      sendMessage(socket, message, (error) => {
        slabs.release(message);
        passed(message.length >> 3); // it lay in memory that is used again: only what moved it is garbage
        if (error === undefined || error === null) unblock();
      });
    }
  }

  function unblock(): void {
    if (!blocked || socket.bufferedAmount >= SOCKET_HIGH_WATER_BYTES) return;
    blocked = false;
    flush(MESSAGES_A_TURN);
  }

  /** What is queued still goes out. An end of ours without an answer is cut. */
  function close(code: number, reason: string): void {
    if (ourEnd !== null || closed) return;
    ourEnd = { code, reason };
    flush(Infinity);
    socket.close(code, reason.slice(0, 100));
    setTimeout(() => socket.terminate(), CLOSE_TIMEOUT_MS).unref();
  }

  const greeting = setTimeout(() => close(CLOSE.timeout, "no HELLO from the relay"), HELLO_TIMEOUT_MS);

  const beat = setInterval(() => {
    const { lastReceivedMs: lastMessageMs, openStreams } = session;
    const lastSignMs = Math.max(lastMessageMs, lastPongMs);
    const keepAliveMs = options.keepAliveMs();
    const verdict = heartbeat({ lastMessageMs, lastSignMs, echoAskedMs, pingAskedMs, openStreams, keepAliveMs }, now());
    if (verdict === "echo") {
      session.ping(); // does nothing while an older one is unanswered; any message will do
      echoAskedMs = now();
    }
    if (verdict === "ping" && socket.readyState === socket.OPEN) {
      pingAskedMs = now();
      socket.ping();
    }
    if (verdict === "dead") cut("the relay does not answer any more");
  }, HEARTBEAT_TICK_MS);

  /** A closing handshake would not come through either. */
  function cut(reason: string): void {
    ourEnd ??= { code: CLOSE.timeout, reason };
    socket.terminate();
  }

  socket.on("pong", () => {
    lastPongMs = now();
  });

  socket.on("message", (data: RawData) => {
    if (!(data instanceof Buffer)) return;
    session.receive(data);
    passed(data.length);
  });

  socket.once("close", (code, reason) => {
    closed = true;
    clearTimeout(greeting);
    clearInterval(beat);
    if (finishing !== null) clearInterval(finishing);
    if (proof !== null) clearTimeout(proof);
    const loss = replaced === null ? lossOfClose(ourEnd?.code ?? code, ourEnd?.reason ?? reason.toString()) : null;
    session.lost(loss?.text ?? "replaced");
    events.closed(loss ?? { kind: "replaced", text: replaced ?? "" });
  });

  flush(MESSAGES_A_TURN);

  /** Asked twice, by the relay and by a signal, the shorter time counts. */
  const finishWithin = (withinMs: number): void => {
    finishUntilMs = Math.min(finishUntilMs, now() + withinMs);
    if (finishing !== null || closed) return;
    finishing = setInterval(() => {
      const idle = session.openStreams === 0;
      if (!idle && now() < finishUntilMs) return;
      close(CLOSE.goneAway, idle ? "drained" : "the time to drain is over");
    }, DRAIN_POLL_MS);
  };

  return {
    get openStreams() {
      return session.openStreams;
    },
    get rttMs() {
      return session.rttMs;
    },
    announce(targets) {
      if (session.state === "greeting") unannounced = targets;
      else session.announceTargets(targets);
    },
    report(report) {
      if (session.state === "greeting") unreported = report;
      else session.report(report);
    },
    renewToken(token) {
      if (session.state !== "greeting") session.renewToken(token);
    },
    acknowledge: (ack) => session.acknowledgeConfig(ack),
    prove(withinMs) {
      if (closed || session.state === "greeting") return;
      if (proof !== null) clearTimeout(proof);
      const askedMs = now();
      session.ping(); // does nothing while an older one is unanswered; any message will do
      proof = setTimeout(() => {
        proof = null;
        if (session.lastReceivedMs < askedMs) cut("the network changed and nothing comes through any more");
      }, withinMs);
    },
    drain(reason, withinMs) {
      session.drain(reason);
      finishWithin(withinMs);
    },
    retire: finishWithin,
    terminate: () => socket.terminate(),
  };
}
