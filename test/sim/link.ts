import {
  createSession,
  type ByteBudget,
  type OpenRequest,
  type PeerHello,
  type SendLimits,
  type Session,
  type SessionEvents,
  type SessionLimits,
  type Stream,
  type StreamEvents,
} from "../../src/protocol/tunnel/session.ts";
import { createAccount } from "./account.ts";
import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";
import { createWire, type WireShape } from "./wire.ts";

/** A socket with a session at each end, and hosts that do what real ones do: flush, answer tokens and settings, notice losses. */
export interface Link {
  readonly relay: Session;
  readonly connector: Session;
  readonly relayBudget: ByteBudget;
  /** Something happened to it that may end streams early. */
  readonly faulty: boolean;
  readonly over: boolean;
  /** Credit of the session that an end is short of by more than what is not worth a grant; 0 when all of it came back. */
  readonly missingCreditBytes: number;
  /** What was said in band and not answered yet. */
  readonly unanswered: number;
  /** Messages vanish in these directions from now on; each end learns of it after its own while. */
  lose(directions: "up" | "down" | "both", relayNoticeMs: number, connectorNoticeMs: number): void;
  /** The relay's object loses its memory: a new session on the old socket. False before the HELLO came. */
  evict(): boolean;
  /** GOAWAY or DRAIN; closed in order when nothing is open. */
  retire(by: "relay" | "connector"): void;
  renewToken(): void;
  pushConfig(): void;
}

export interface LinkOptions {
  readonly name: string;
  readonly shape: WireShape;
  readonly limits: SessionLimits;
  readonly send: SendLimits;
  readonly streamWindowMaxBytes: number;
  readonly relayBudgetBytes: number;
  readonly connectorBudget: ByteBudget;
  readonly time: Timeline;
  readonly random: Random;
  /** The relay's streams are gone without an event. */
  readonly evicted: () => void;
  readonly ready: () => void;
  readonly open: (stream: Stream, request: OpenRequest) => StreamEvents;
  readonly trace: (text: string) => void;
  /** After each message, for what must hold at all times. */
  readonly check: () => void;
}

const IDLE_POLL_MS = 20;
/** What is open when a socket retires has this long. */
const GRACE_MS = 2_000;

export function createLink(options: LinkOptions): Link {
  const { name, time, random, limits, send, streamWindowMaxBytes, trace } = options;
  let relayBudget: ByteBudget = { totalBytes: options.relayBudgetBytes, committedBytes: 0 };
  let hello: PeerHello | null = null;
  let faulty = false;
  let over = false;
  let asked = 0;
  let answered = 0;
  let revision = 0;
  let graceEndsMs = Number.POSITIVE_INFINITY;
  const accounts = {
    relay: createAccount(`${name} relay`, limits.streamWindowBytes, limits.sessionWindowBytes),
    connector: createAccount(`${name} connector`, 0, limits.sessionWindowBytes),
  };

  const flush = (side: "relay" | "connector"): void => {
    const wire = side === "relay" ? down : up;
    const session = side === "relay" ? relay : connector;
    while (wire.bufferedBytes < options.shape.highWaterBytes) {
      const message = session.takeMessage();
      if (message === null) return;
      accounts[side].sent(message);
      wire.send(message);
    }
  };
  const arrive = (side: "relay" | "connector", message: Uint8Array): void => {
    accounts[side].received(message);
    (side === "relay" ? relay : connector).receive(message);
    options.check();
  };

  const common = (side: "relay" | "connector"): Pick<SessionEvents, "flushNeeded" | "failed"> => ({
    flushNeeded: () => time.after(0, () => flush(side)),
    failed: ({ closeCode, reason }) => {
      throw new Error(`${name}: the ${side} failed with ${closeCode}: ${reason}`);
    },
  });
  const base = { now: () => time.now(), limits, send, streamWindowMaxBytes };

  const createRelay = (restored: PeerHello | null): Session =>
    createSession({
      ...base,
      role: "relay",
      budget: relayBudget,
      identity: { instanceId: "", targets: [], sessionId: name, software: "sim" },
      ...(restored === null ? {} : { restored }),
      events: {
        ...common("relay"),
        hello(peer) {
          hello = peer;
          options.ready();
        },
        token(token) {
          if (!token.startsWith("token.")) throw new Error(`${name}: a wrong token`);
          relay.tokenAccepted(1000);
        },
        configAcknowledged(ack) {
          if (!ack.ok || ack.revision > revision) throw new Error(`${name}: a wrong acknowledgement`);
          answered += 1;
        },
      },
    });

  const createConnector = (): Session =>
    createSession({
      ...base,
      role: "connector",
      budget: options.connectorBudget,
      identity: { instanceId: "i", targets: ["web"], sessionId: "", software: "sim" },
      events: {
        ...common("connector"),
        open: (stream, request) => options.open(stream, request),
        goAway: () => finishWhenIdle(),
        config: (config) => connector.acknowledgeConfig({ revision: config.revision, ok: true, reason: "" }),
        tokenAccepted() {
          answered += 1;
        },
      },
    });

  const end = (side: "relay" | "connector", text: string): void => {
    trace(`${name}: the ${side} learns that ${text}`);
    over = true;
    (side === "relay" ? relay : connector).lost(text);
    options.check();
  };
  const lose = (directions: "up" | "down" | "both", relayNoticeMs: number, connectorNoticeMs: number): void => {
    if (over) return;
    trace(`${name}: lost ${directions}`);
    faulty = true;
    if (directions !== "up") down.cut();
    if (directions !== "down") up.cut();
    time.after(relayNoticeMs, () => end("relay", "the socket is gone"));
    time.after(connectorNoticeMs, () => end("connector", "the socket is gone"));
  };
  const finishWhenIdle = (): void => {
    if (over) return;
    const idle = connector.openStreams === 0 && relay.openStreams === 0;
    if (!idle && time.now() < graceEndsMs) return time.after(IDLE_POLL_MS, finishWhenIdle);
    faulty ||= !idle;
    end("connector", "it is retired");
    end("relay", "it is retired");
  };

  const down = createWire(options.shape, time, random, {
    arrived: (message) => arrive("connector", message),
    drained: () => flush("relay"),
  });
  const up = createWire(options.shape, time, random, {
    arrived: (message) => arrive("relay", message),
    drained: () => flush("connector"),
  });
  let relay = createRelay(null);
  const connector = createConnector();
  flush("relay");
  flush("connector");

  return {
    get relay() {
      return relay;
    },
    connector,
    get relayBudget() {
      return relayBudget;
    },
    get faulty() {
      return faulty;
    },
    get over() {
      return over;
    },
    get missingCreditBytes() {
      if (over) return 0;
      const least = limits.sessionWindowBytes / 2;
      return Math.max(0, least - accounts.relay.creditBytes, least - accounts.connector.creditBytes);
    },
    get unanswered() {
      return faulty || over ? 0 : asked - answered;
    },
    lose,
    evict() {
      if (hello === null || over) return false;
      trace(`${name}: evicted`);
      faulty = true;
      relayBudget = { totalBytes: options.relayBudgetBytes, committedBytes: 0 };
      options.evicted();
      accounts.relay.restart();
      relay = createRelay(hello);
      flush("relay");
      return true;
    },
    retire(by) {
      if (over) return;
      trace(`${name}: retired by the ${by}`);
      graceEndsMs = Math.min(graceEndsMs, time.now() + GRACE_MS);
      if (by === "relay")
        relay.goAway({ graceMs: 1000, reconnectMinMs: 0, reconnectMaxMs: 10, reason: "r".repeat(300) });
      else connector.drain("stops");
      if (by === "connector") time.after(IDLE_POLL_MS, finishWhenIdle);
    },
    renewToken() {
      if (!over && connector.renewToken(`token.${"x".repeat(random.below(2000))}`)) asked += 1;
    },
    pushConfig() {
      revision += 1;
      const config = { revision, targetsJson: "t".repeat(random.below(3000)), leaveInMs: null };
      if (!over && relay.pushConfig({ ...config, keepAliveMs: null, reconnectMaxMs: 5 })) asked += 1;
    },
  };
}
