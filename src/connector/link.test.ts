import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { createLogger } from "../shared/log.ts";
import type { Carrier } from "./carrier.ts";
import type { LinkLoss } from "./ending.ts";
import {
  BACKOFF_BASE_MS,
  BACKOFF_CAP_MS,
  HURRY_SPREAD_MS,
  REFUSED_RETRY_MS,
  RESTART_PATIENCE_MS,
  STABLE_AFTER_MS,
  TCP_CONNECT_TIMEOUT_MS,
} from "./limits.ts";
import { createLink, type Link, type LinkCarrierEvents, type LinkDialEvents } from "./link.ts";

// The timing of redials, without a network: dials fail as the network of the test says.
const QUIET = createLogger("test", () => undefined);
const RETRY: LinkLoss = { kind: "retry", text: "gone", retryAfterMs: null };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

interface Dialled {
  readonly atMs: number;
  readonly events: LinkDialEvents;
  aborted: boolean;
}

const nothing = (): void => undefined;
/** What a link asks of a socket that nobody uses. */
const IDLE: Carrier = {
  openStreams: 0,
  rttMs: null,
  announce: nothing,
  report: nothing,
  renewToken: nothing,
  acknowledge: nothing,
  prove: nothing,
  drain: nothing,
  retire: nothing,
  terminate: nothing,
};

function linkWith(
  random: () => number,
  dialled: (one: Dialled) => void,
  carried: (events: LinkCarrierEvents) => void = nothing,
): Link {
  const link = createLink("a", {
    now: () => Date.now(),
    random,
    log: QUIET,
    backoffCapMs: () => BACKOFF_CAP_MS,
    changed: () => undefined,
    carry(_socket, events) {
      carried(events);
      return IDLE;
    },
    dial(events) {
      const one: Dialled = { atMs: Date.now(), events, aborted: false };
      dialled(one);
      return () => {
        one.aborted = true;
      };
    },
  });
  link.start();
  return link;
}

/** A small generator (mulberry32), so that a seed gives the same run again. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

describe("after an outage of any length", () => {
  test.each([
    ["refused at once", 0],
    ["swallowed, so that each dial runs into its TCP time", TCP_CONNECT_TIMEOUT_MS],
  ])("with dials that are %s, 99 of 100 connectors dial within 10 s after the network is back", (_name, hangsMs) => {
    const delays: number[] = [];
    for (let seed = 1; seed <= 400; seed++) {
      const random = seeded(seed);
      const backMs = Date.now() + 1_000 + random() * 120_000;
      const good: number[] = [];
      const link = linkWith(random, ({ atMs, events }) => {
        if (atMs >= backMs) good.push(atMs);
        else setTimeout(() => events.failed(RETRY), hangsMs);
      });
      while (good.length === 0) vi.advanceTimersByTime(100);
      delays.push((good[0] ?? Infinity) - backMs);
      link.stop("done");
    }
    delays.sort((one, other) => one - other);
    expect(delays[Math.floor(delays.length * 0.99)]).toBeLessThan(10_000);
    expect(delays[Math.floor(delays.length / 2)]).toBeLessThan(5_000);
  });
});

describe("after a link that was well is lost", () => {
  test("a relay that starts again is dialled at least every half second for a while, then less and less", () => {
    const dials: Dialled[] = [];
    const carried: LinkCarrierEvents[] = [];
    const link = linkWith(
      () => 0.99,
      (one) => {
        dials.push(one);
        if (dials.length > 1) setTimeout(() => one.events.failed(RETRY), 0);
      },
      (events) => carried.push(events),
    );
    const unused: WebSocket = Object.create(WebSocket.prototype);
    dials[0]?.events.opened(unused);
    const limits = { messageBytes: 0, streamWindowBytes: 0, sessionWindowBytes: 0, streams: 0, wsMessageBytes: 0 };
    carried[0]?.ready({ version: 1, features: [], limits, instanceId: "", targets: [], sessionId: "s", software: "" });
    vi.advanceTimersByTime(STABLE_AFTER_MS);
    const lostMs = Date.now();
    carried[0]?.closed(RETRY);
    vi.advanceTimersByTime(60_000);
    link.stop("done");
    const redials = dials.slice(1).map(({ atMs }) => atMs - lostMs);
    const pauses = redials.map((atMs, i) => atMs - (redials[i - 1] ?? 0));
    const soon = redials.filter((atMs) => atMs <= RESTART_PATIENCE_MS).length;
    expect(Math.max(...pauses.slice(0, soon))).toBeLessThan(2 * BACKOFF_BASE_MS);
    expect(soon).toBeGreaterThanOrEqual(10);
    expect(pauses.slice(soon).every((pause, i, all) => i === 0 || pause >= (all[i - 1] ?? 0))).toBe(true);
    expect(pauses.at(-1)).toBeGreaterThan(BACKOFF_CAP_MS * 0.9);
  });
});

describe("when the network changes", () => {
  test("a waiting dial starts at once, and a hanging one is given up for a new one", () => {
    const dials: Dialled[] = [];
    const link = linkWith(
      () => 0.99,
      (one) => dials.push(one),
    );
    for (let i = 0; i < 6; i++) {
      dials.at(-1)?.events.failed(RETRY);
      vi.advanceTimersByTime(BACKOFF_CAP_MS);
    }
    dials.at(-1)?.events.failed(RETRY);
    const waited = dials.length;
    link.networkChanged();
    vi.advanceTimersByTime(HURRY_SPREAD_MS);
    expect(dials.length).toBe(waited + 1);
    link.networkChanged(); // just begun: left alone
    expect(dials.at(-1)?.aborted).toBe(false);
    vi.advanceTimersByTime(2 * HURRY_SPREAD_MS);
    link.networkChanged();
    expect(dials.at(-1)?.aborted).toBe(true);
    vi.advanceTimersByTime(HURRY_SPREAD_MS);
    expect(dials.length).toBe(waited + 2);
    link.stop("done");
  });

  test("a pause that the relay asked for is kept, and a refused credential is not tried sooner, unless there is another one", () => {
    const dials: Dialled[] = [];
    const link = linkWith(
      () => 0,
      (one) => dials.push(one),
    );
    dials[0]?.events.failed({ ...RETRY, retryAfterMs: 30_000 });
    link.networkChanged();
    vi.advanceTimersByTime(20_000);
    expect(dials.length).toBe(1);
    vi.advanceTimersByTime(10_000);
    expect(dials.length).toBe(2);
    dials[1]?.events.failed({ kind: "auth", text: "no" });
    link.networkChanged();
    vi.advanceTimersByTime(REFUSED_RETRY_MS / 2 - 1);
    expect(dials.length).toBe(2);
    link.credentialChanged();
    vi.advanceTimersByTime(0);
    expect(dials.length).toBe(3);
    link.stop("done");
  });
});
