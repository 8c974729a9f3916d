import { describe, expect, it } from "vitest";
import { createSession, type Session, type Stream } from "../../src/protocol/tunnel/session.ts";
import { createRandom } from "../sim/random.ts";
import { createTimeline } from "../sim/timeline.ts";
import { createWire } from "../sim/wire.ts";

/** T04: one stream over a link of 100 ms round trip, in virtual time. The link is not the bound: it carries 400 MB/s. */
const KIB = 1024;
const MIB = 1024 * KIB;
const DELAY_MS = 50;
const LINK_BYTES_PER_MS = 400_000;
const MEASURE_FROM_MS = 6_000;
const MEASURE_MS = 3_000;

interface Setup {
  readonly direction: "download" | "upload";
  readonly streamWindowMaxBytes: number;
  readonly budgetBytes: number;
  /** Other streams, whose readers take nothing. */
  readonly stalled?: number;
  readonly sessionWindowBytes?: number;
}

/** MB/s of one stream that is read as fast as it comes, once its window has had time to grow. */
function megabytesPerSecond(setup: Setup): number {
  // Less than one grown window: it must not be what holds a stream back.
  const { direction, streamWindowMaxBytes, budgetBytes, stalled = 0, sessionWindowBytes = 2 * MIB } = setup;
  const time = createTimeline();
  const budget = { totalBytes: budgetBytes, committedBytes: 0 };
  const endMs = time.now() + MEASURE_FROM_MS + MEASURE_MS;
  let taken = 0;
  const base = {
    now: () => time.now(),
    limits: {
      messageBytes: MIB,
      streamWindowBytes: 128 * KIB,
      sessionWindowBytes,
      streams: 1000,
      wsMessageBytes: MIB,
    },
    send: {
      messageBytes: 64 * KIB,
      contendedFrameBytes: 16 * KIB,
      aloneFrameBytes: 64 * KIB,
      streamQueueBytes: 128 * KIB,
    },
    budget,
    streamWindowMaxBytes,
    identity: { instanceId: "", targets: [], sessionId: "", software: "" },
  };
  const failed = ({ reason }: { reason: string }): void => {
    throw new Error(reason);
  };
  const flush = (from: () => Session, wire: () => ReturnType<typeof createWire>): (() => void) => {
    const go = (): void => {
      while (time.now() < endMs && wire().bufferedBytes < 64 * KIB) {
        const message = from().takeMessage();
        if (message === null) return;
        wire().send(message);
      }
    };
    return go;
  };
  const flushRelay = flush(
    () => relay,
    () => down,
  );
  const flushConnector = flush(
    () => connector,
    () => up,
  );
  const chunk = new Uint8Array(64 * KIB);
  const endless = (stream: Stream): (() => void) => {
    const write = (): void => {
      while (stream.write(chunk) > 0);
    };
    return write;
  };
  const take = (stream: Stream, bytes: Uint8Array): void => {
    if (time.now() >= endMs - MEASURE_MS && time.now() < endMs) taken += bytes.length;
    stream.consumed(bytes.length);
  };
  const relay: Session = createSession({
    ...base,
    role: "relay",
    events: { flushNeeded: () => time.after(0, flushRelay), failed },
  });
  const connector: Session = createSession({
    ...base,
    role: "connector",
    events: {
      flushNeeded: () => time.after(0, flushConnector),
      failed,
      open(stream, request) {
        if (direction === "upload")
          return { data: (bytes) => (request.path === "/stalled" ? undefined : take(stream, bytes)) };
        stream.respond({ status: 200, headers: [] }, false);
        const write = endless(stream);
        write();
        return { writable: write };
      },
    },
  });
  const shape = { delayMs: DELAY_MS, jitterMs: 0, bytesPerMs: LINK_BYTES_PER_MS, highWaterBytes: 64 * KIB };
  const random = createRandom(1);
  const down = createWire(shape, time, random, {
    arrived: (message) => connector.receive(message),
    drained: flushRelay,
  });
  const up = createWire(shape, time, random, {
    arrived: (message) => relay.receive(message),
    drained: flushConnector,
  });
  const request = { target: "web", method: "POST", headers: [], upgrade: null, deadlineMs: 0, urgency: 3 } as const;
  const open = (path: string): void => {
    let stream: Stream | null = null;
    let write = (): void => undefined;
    const result = relay.open(
      { ...request, path, end: direction === "download" },
      {
        data(bytes) {
          if (path !== "/stalled" && stream !== null) take(stream, bytes);
        },
        writable: () => write(),
      },
    );
    if (!result.ok) throw new Error(result.error.reason);
    ({ stream } = result);
    if (direction === "upload") {
      write = endless(result.stream);
      write();
    }
  };
  flushRelay();
  flushConnector();
  time.after(200, () => {
    for (let i = 0; i < stalled; i++) open("/stalled");
    open("/read");
  });
  time.drain();
  return taken / MEASURE_MS / 1000;
}

describe("one stream at 100 ms round trip", () => {
  for (const direction of ["download", "upload"] as const) {
    it(`moves more than 100 MB/s with windows of 16 MiB, and 25 MB/s with 4 MiB (${direction})`, () => {
      const node = megabytesPerSecond({ direction, streamWindowMaxBytes: 16 * MIB, budgetBytes: 64 * MIB });
      const object = megabytesPerSecond({ direction, streamWindowMaxBytes: 4 * MIB, budgetBytes: 24 * MIB });
      expect([node > 100, object > 25], `${node} and ${object} MB/s`).toEqual([true, true]);
    });

    it(`still grows beside 200 whose readers stand still (${direction})`, () => {
      const speed = megabytesPerSecond({
        direction,
        streamWindowMaxBytes: 16 * MIB,
        budgetBytes: 128 * MIB,
        stalled: 200,
        sessionWindowBytes: 32 * MIB,
      });
      expect(speed).toBeGreaterThan(100);
    });
  }

  it("is held down when the budget is used up, and goes on", () => {
    const speed = megabytesPerSecond({
      direction: "download",
      streamWindowMaxBytes: 16 * MIB,
      budgetBytes: 2 * MIB,
      stalled: 300,
    });
    expect(speed).toBeGreaterThan(0.1);
    expect(speed).toBeLessThan(10);
  });
});
