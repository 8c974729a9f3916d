import type { SendLimits, SessionLimits } from "../../src/protocol/tunnel/session.ts";
import type { Random } from "./random.ts";
import type { WireShape } from "./wire.ts";

/** Everything that a seed decides before the world starts. */
export interface Scenario {
  readonly limits: SessionLimits;
  readonly send: SendLimits;
  readonly streamWindowMaxBytes: number;
  readonly relayBudgetBytes: number;
  readonly connectorBudgetBytes: number;
  readonly shapes: readonly [WireShape, WireShape];
  readonly requests: readonly RequestPlan[];
  readonly incidents: readonly Incident[];
}

export interface RequestPlan {
  readonly startMs: number;
  /** Which of the two sockets is tried first. */
  readonly link: 0 | 1;
  readonly urgency: number;
  readonly upgrade: boolean;
  /** The target answers an upgrade with 101; else with an ordinary answer. */
  readonly accepts: boolean;
  readonly upBytes: number;
  readonly downBytes: number;
  readonly chunkBytes: number;
  readonly takeMs: number;
  readonly answerMs: number;
  readonly interim: boolean;
  readonly trailers: boolean;
  /** The answer is not for the request's body: what is left of it is not wanted. */
  readonly stops: boolean;
  readonly resetBy: "nobody" | "relay" | "connector";
  /** 0: in the same moment, before anything of it is sent. */
  readonly resetMs: number;
  readonly stalledAt: "nobody" | "relay" | "connector";
}

export interface Incident {
  readonly atMs: number;
  readonly link: 0 | 1;
  readonly kind: "lose" | "evict" | "relay-retires" | "connector-retires" | "token" | "config" | "ping" | "report";
  readonly directions: "up" | "down" | "both";
  readonly noticeMs: readonly [relay: number, connector: number];
}

const KIB = 1024;
const SPAN_MS = 200;

export function createScenario(random: Random): Scenario {
  const streamWindowBytes = random.between(16, 48) * KIB;
  const fair = random.percent(40); // nothing goes wrong but what the plans say
  return {
    limits: {
      messageBytes: 256 * KIB,
      streamWindowBytes,
      sessionWindowBytes: streamWindowBytes + random.below(96) * KIB,
      streams: 8,
      wsMessageBytes: 64 * KIB,
    },
    send: {
      messageBytes: random.between(2, 32) * KIB,
      contendedFrameBytes: random.between(1, 8) * KIB,
      aloneFrameBytes: random.between(8, 32) * KIB,
      streamQueueBytes: random.between(2, 32) * KIB,
    },
    streamWindowMaxBytes: streamWindowBytes * random.pick([1, 2, 8]),
    relayBudgetBytes: random.between(16, 512) * KIB,
    connectorBudgetBytes: random.between(16, 512) * KIB,
    shapes: [shape(random), shape(random)],
    requests: Array.from({ length: random.between(1, 6) }, () => request(random)),
    incidents: fair ? [] : Array.from({ length: random.between(1, 4) }, () => incident(random)),
  };
}

const shape = (random: Random): WireShape => ({
  delayMs: random.pick([0, 1, 10, 50]),
  jitterMs: random.pick([0, 1, 20]),
  bytesPerMs: random.pick([500, 5_000, 100_000]),
  highWaterBytes: random.between(1, 32) * KIB,
});

function bodyBytes(random: Random): number {
  const kind = random.below(100);
  if (kind < 35) return 0;
  if (kind < 70) return random.between(1, 400);
  return kind < 95 ? random.below(30_000) : random.below(150_000);
}

function request(random: Random): RequestPlan {
  const upgrade = random.percent(20);
  return {
    startMs: random.below(SPAN_MS),
    link: random.pick([0, 1]),
    urgency: random.below(8),
    upgrade,
    accepts: random.percent(80),
    upBytes: bodyBytes(random),
    downBytes: bodyBytes(random),
    chunkBytes: random.between(200, 16_000), // messages beyond 16 KiB may be refused when the budget is used up
    takeMs: random.pick([0, 0, 1, 10]),
    answerMs: random.pick([0, 0, 5, 60]),
    interim: random.percent(10),
    trailers: !upgrade && random.percent(10),
    stops: random.percent(10),
    resetBy: random.pick(["nobody", "nobody", "nobody", "nobody", "relay", "connector"]),
    resetMs: random.pick([0, random.below(5), random.below(SPAN_MS)]),
    stalledAt: random.pick(["nobody", "nobody", "nobody", "nobody", "relay", "connector"]),
  };
}

const incident = (random: Random): Incident => ({
  atMs: random.below(SPAN_MS + 100),
  link: random.pick([0, 1]),
  kind: random.pick([
    "lose",
    "lose",
    "evict",
    "evict",
    "relay-retires",
    "connector-retires",
    "token",
    "config",
    "ping",
    "report",
  ]),
  directions: random.pick(["up", "down", "both"]),
  noticeMs: [random.pick([0, 1, 30, 500]), random.pick([0, 1, 30, 500])],
});
