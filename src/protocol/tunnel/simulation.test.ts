import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FRAME, readFrames, readU32 } from "./frame.ts";
import { createSession } from "./session.ts";
import type { Session, SessionLimits, Stream } from "./session.ts";

/**
 * Two endpoints over a link with random delays, slow consumers, resets from either side and requests with and without bodies, upgraded or
 * not, all from one seed. The wire is watched by an account of its own (below), which knows the protocol only from its description.
 */
const LIMITS: SessionLimits = {
  messageBytes: 256 * 1024,
  streamWindowBytes: 32 * 1024,
  sessionWindowBytes: 80 * 1024,
  streams: 50,
  wsMessageBytes: 100_000,
};
const SEND = {
  messageBytes: 8 * 1024,
  contendedFrameBytes: 2 * 1024,
  aloneFrameBytes: 8 * 1024,
  streamQueueBytes: 8 * 1024,
};

const plan = fc.record({
  startMs: fc.nat(200),
  upgrade: fc.boolean(),
  upBytes: fc.oneof(fc.constant(0), fc.nat(300), fc.nat(120_000)),
  downBytes: fc.oneof(fc.constant(0), fc.nat(300), fc.nat(120_000)),
  chunk: fc.integer({ min: 1, max: 20_000 }),
  consumeMs: fc.nat(20),
  resetBy: fc.constantFrom("nobody", "nobody", "nobody", "relay", "connector"),
  resetMs: fc.nat(300),
  /** The side that takes nothing until all other streams had their time. */
  stalledAt: fc.constantFrom("nobody", "nobody", "relay", "connector"),
});
type Plan = typeof plan extends fc.Arbitrary<infer T> ? T : never;

/** Windows of any size beside each other: a session's may be smaller than what its streams have together. */
const windows = fc
  .record({ stream: fc.integer({ min: 16, max: 64 }), growth: fc.integer({ min: 1, max: 4 }), more: fc.nat(120) })
  .map(({ stream, growth, more }) => ({
    limits: { ...LIMITS, streamWindowBytes: stream * 1024, sessionWindowBytes: (stream + more) * 1024 },
    streamWindowMaxBytes: stream * growth * 1024,
  }));
type Windows = typeof windows extends fc.Arbitrary<infer T> ? T : never;

const byteAt = (stream: number, at: number): number => (stream * 31 + at * 7 + (at >>> 8)) & 255;

/** Virtual time: events run in order of time, ties in order of entry. */
function createTimeline(): { now: () => number; at(delayMs: number, run: () => void): void; drain(): void } {
  let now = 0;
  const due = new Map<number, (() => void)[]>();
  return {
    now: () => now,
    at(delayMs, run) {
      const events = due.get(now + delayMs);
      if (events === undefined) due.set(now + delayMs, [run]);
      else events.push(run);
    },
    drain() {
      for (let steps = 0; due.size > 0; steps++) {
        if (steps > 100_000) throw new Error("it never comes to rest");
        now = Math.min(...due.keys());
        const events = due.get(now) ?? [];
        for (const run of events) run(); // an event that is entered for now runs in this round
        due.delete(now);
      }
    },
  };
}

/** Credit of each stream and the session as it was granted on the wire, for one direction; nothing may go below zero. */
function createAccount(
  initialStream: number,
  initialSession: number,
): { sent(message: Uint8Array): void; granted(message: Uint8Array): void } {
  const streams = new Map<number, number>();
  let session = initialSession;
  const of = (id: number): number => streams.get(id) ?? initialStream;
  return {
    sent(message) {
      readFrames(message, ({ type, streamId, payload }) => {
        const cost =
          type === FRAME.data ? payload.length : type === FRAME.wsMessage && payload[0] !== 8 ? payload.length + 9 : 0;
        streams.set(streamId, of(streamId) - cost);
        session -= cost;
        expect(of(streamId)).toBeGreaterThanOrEqual(0);
        expect(session).toBeGreaterThanOrEqual(0);
        return true;
      });
    },
    granted(message) {
      readFrames(message, ({ type, streamId, payload }) => {
        if (type === FRAME.open) streams.set(streamId, readU32(payload, 4));
        if (type === FRAME.window && streamId === 0) session += readU32(payload, 0);
        else if (type === FRAME.window) streams.set(streamId, of(streamId) + readU32(payload, 0));
        return true;
      });
    },
  };
}

function simulate(plans: readonly Plan[], delays: readonly number[], { limits, streamWindowMaxBytes }: Windows): void {
  const time = createTimeline();
  const stalled = new Set<() => void>();
  let release = false;
  const ends = new Map<string, string[]>();
  const got = new Map<string, { bytes: number; ended: boolean }>();
  let delayIndex = 0;
  // Room for the least windows of all streams and a long message of each: without it such a message may be refused for want of memory.
  const budget = { totalBytes: 4 * 1024 * 1024, committedBytes: 0 };
  const siteBudget = { totalBytes: 4 * 1024 * 1024, committedBytes: 0 };
  const up = createAccount(0, limits.sessionWindowBytes); // the connector's sending
  const down = createAccount(limits.streamWindowBytes, limits.sessionWindowBytes); // the relay's sending

  /** One direction: in order, each message a while later than the one before. */
  const link = (from: () => Session, to: () => Session, mine: typeof up, other: typeof up): (() => void) => {
    let lastArrival = 0;
    let scheduled = false;
    return () => {
      if (scheduled) return;
      scheduled = true;
      time.at(0, () => {
        scheduled = false;
        for (let message = from().takeMessage(); message !== null; message = from().takeMessage()) {
          const sent = message;
          mine.sent(sent);
          other.granted(sent);
          const delay = delays[delayIndex++ % delays.length] ?? 0;
          lastArrival = Math.max(lastArrival, time.now() + delay);
          time.at(lastArrival - time.now(), () => to().receive(sent));
        }
      });
    };
  };

  /** Feeds `total` bytes of the pattern as credit allows, in 100 chunks at most, then ends. */
  const feed = (stream: Stream, index: number, total: number, least: number, messages: boolean): (() => void) => {
    const chunk = Math.max(least, Math.ceil(total / 100));
    let at = 0;
    let done = false;
    const go = (): void => {
      while (!done) {
        if (at === total) {
          done = true;
          if (messages) stream.sendMessageClose(1000, "");
          else stream.end();
          return;
        }
        const bytes = new Uint8Array(Math.min(chunk, total - at));
        for (let i = 0; i < bytes.length; i++) bytes[i] = byteAt(index, at + i);
        at += bytes.length;
        const room = messages ? stream.sendMessage("binary", bytes) : stream.write(bytes);
        if (room <= 0 && at < total) return;
      }
    };
    return go;
  };

  const receiver = (key: string, index: number, consumeMs: number, stalls: boolean, stream: () => Stream | null) => {
    const seen = { bytes: 0, ended: false };
    got.set(key, seen);
    const take = (bytes: Uint8Array, credit: number): void => {
      for (const byte of bytes) {
        if (byte !== byteAt(index, seen.bytes)) throw new Error(`${key}: byte ${seen.bytes} is wrong`);
        seen.bytes += 1;
      }
      const consume = (): void => stream()?.consumed(credit);
      if (stalls && !release) stalled.add(consume);
      else time.at(consumeMs, consume);
    };
    return {
      data: (bytes: Uint8Array) => take(bytes, bytes.length),
      message: (m: { data: Uint8Array; creditBytes: number }) => take(m.data, m.creditBytes),
      end: () => void (seen.ended = true),
      messageClose: () => void (seen.ended = true),
      closed: (outcome: { kind: string }) => {
        ends.set(key, [...(ends.get(key) ?? []), outcome.kind]);
      },
    };
  };

  const base = { now: time.now, limits, send: SEND, streamWindowMaxBytes };
  const failed = (side: string) => (failure: { reason: string }) => {
    throw new Error(`${side}: ${failure.reason}`);
  };
  const relay: Session = createSession({
    ...base,
    role: "relay",
    budget,
    identity: { instanceId: "", targets: [], sessionId: "s", software: "" },
    events: { flushNeeded: () => flushDown(), failed: failed("relay") },
  });
  const connector: Session = createSession({
    ...base,
    role: "connector",
    budget: siteBudget,
    identity: { instanceId: "i", targets: [], sessionId: "", software: "" },
    events: {
      flushNeeded: () => flushUp(),
      failed: failed("connector"),
      open: (stream, request) => {
        const index = Number(request.path.slice(1));
        const p = plans[index];
        if (p === undefined) throw new Error("unknown plan");
        const go = feed(stream, index + 1000, p.downBytes, p.chunk, p.upgrade);
        time.at(p.consumeMs, () => {
          stream.respond({ status: p.upgrade ? 101 : 200, headers: [["i", String(index)]] }, false);
          go();
        });
        if (p.resetBy === "connector") time.at(p.resetMs, () => stream.reset("target-reset", "test"));
        return {
          ...receiver(`connector ${index}`, index, p.consumeMs, p.stalledAt === "connector", () => stream),
          writable: go,
        };
      },
    },
  });
  const flushDown = link(
    () => relay,
    () => connector,
    down,
    up,
  );
  const flushUp = link(
    () => connector,
    () => relay,
    up,
    down,
  );
  flushDown();
  flushUp();

  plans.forEach((p, index) => {
    time.at(1000 + p.startMs, () => {
      let stream: Stream | null = null;
      let go = (): void => undefined;
      const events = receiver(`relay ${index}`, index + 1000, p.consumeMs, p.stalledAt === "relay", () => stream);
      const result = relay.open(
        {
          target: "web",
          method: "POST",
          path: `/${index}`,
          headers: [],
          end: !p.upgrade && p.upBytes === 0,
          upgrade: p.upgrade ? "websocket" : null,
          deadlineMs: 0,
          urgency: 3,
        },
        { ...events, head: () => void (p.upgrade && go()), writable: () => go() },
      );
      if (!result.ok) throw new Error(result.error.reason);
      stream = result.stream;
      go = feed(result.stream, index, p.upBytes, p.chunk, p.upgrade);
      if (!p.upgrade && p.upBytes > 0) go();
      if (p.resetBy === "relay") time.at(p.resetMs, () => result.stream.reset("cancelled", "test"));
    });
  });
  time.drain();
  plans.forEach((p, index) => {
    if (p.stalledAt === "nobody") expect(ends.get(`relay ${index}`), `${index} beside stalled ones`).toHaveLength(1);
  });
  release = true;
  for (const consume of stalled) time.at(0, consume);
  time.drain();

  plans.forEach((p, index) => {
    expect(ends.get(`relay ${index}`), `ends of relay ${index}`).toHaveLength(1);
    expect((ends.get(`connector ${index}`) ?? ["never opened"]).length, `ends of connector ${index}`).toBe(1);
    if (p.resetBy !== "nobody") return;
    expect(ends.get(`relay ${index}`)).toEqual(["finished"]);
    expect(ends.get(`connector ${index}`)).toEqual(["finished"]);
    expect(got.get(`relay ${index}`)).toEqual({ bytes: p.downBytes, ended: true });
    if (p.upgrade || p.upBytes > 0) expect(got.get(`connector ${index}`)).toEqual({ bytes: p.upBytes, ended: true });
  });
  expect([relay.openStreams, connector.openStreams]).toEqual([0, 0]);
  expect([budget.committedBytes, siteBudget.committedBytes]).toEqual([0, 0]);
}

describe("two endpoints over a slow link", () => {
  it("lose, double and reorder nothing; credit stays above zero; every stream ends once on each side", () => {
    fc.assert(
      fc.property(
        fc.array(plan, { minLength: 1, maxLength: 12 }),
        fc.array(fc.nat(40), { minLength: 1, maxLength: 20 }),
        windows,
        simulate,
      ),
      { numRuns: 150 },
    );
  });

  it("carry many streams through windows that are far too small for them", () => {
    const plans: Plan[] = Array.from({ length: 40 }, (_, i) => ({
      startMs: i,
      upgrade: i % 5 === 0,
      upBytes: (i % 3) * 40_000,
      downBytes: 60_000,
      chunk: 5_000,
      consumeMs: i % 7,
      resetBy: "nobody",
      resetMs: 0,
      stalledAt: "nobody",
    }));
    simulate(plans, [1, 30, 2], { limits: LIMITS, streamWindowMaxBytes: LIMITS.streamWindowBytes });
  });

  it("go on however many streams stand still, whose windows are more than the session's", () => {
    const limits = { ...LIMITS, streamWindowBytes: 16 * 1024, sessionWindowBytes: 64 * 1024 };
    for (const stalledAt of ["relay", "connector"] as const) {
      const plans: Plan[] = Array.from({ length: 48 }, (_, i) => ({
        startMs: i * 4,
        upgrade: i % 4 === 0,
        upBytes: 60_000,
        downBytes: 60_000,
        chunk: 5_000,
        consumeMs: 1,
        resetBy: "nobody",
        resetMs: 0,
        stalledAt: i < 40 ? stalledAt : "nobody",
      }));
      simulate(plans, [3], { limits, streamWindowMaxBytes: 32 * 1024 });
    }
  });
});
