import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesOf, createMemoryLane, type MemoryLane, type MemoryVisitor } from "../../../test/support/memory-lane.ts";
import type { Stream } from "../../protocol/tunnel/session.ts";
import { OBJECT_LIMITS } from "../limits.ts";

const MIB = 1024 * 1024;
const MAX = OBJECT_LIMITS.accountedBytesMax;

/** A connector that sends as much as it may, for ever, and another that answers at once. */
function laneWithBulk(): { lane: MemoryLane; small: () => MemoryVisitor } {
  const lane = createMemoryLane();
  const chunk = new Uint8Array(64 * 1024);
  const pour = (stream: Stream): void => {
    while (!stream.closed && stream.write(chunk) > 0);
  };
  lane.connect({
    targets: ["bulk"],
    limits: { sessionWindowBytes: 64 * MIB },
    onOpen(stream) {
      stream.respond({ status: 200, headers: [] }, false);
      pour(stream);
      return { writable: () => pour(stream) };
    },
  });
  lane.connect({
    targets: ["small"],
    onOpen: (stream) => {
      stream.respond({ status: 200, headers: [] }, false);
      stream.write(bytesOf("small"));
      stream.end();
      return {};
    },
  });
  return { lane, small: () => lane.request({ target: "small" }) };
}

describe("what a lane accounts for", () => {
  it(
    "stays below its bound with 1,000 visitors that stand still, while others are served (T01)",
    { timeout: 60_000 },
    () => {
      const { lane, small } = laneWithBulk();
      const stalled: MemoryVisitor[] = [];
      for (let i = 0; i < 999; i++) {
        const visitor = lane.request({ target: "bulk" });
        visitor.reads = false;
        stalled.push(visitor);
        if (i % 20 === 0) lane.settle();
        expect(lane.broker.accountedBytes).toBeLessThanOrEqual(MAX);
      }
      lane.settle();
      expect(stalled.every(({ head, body }) => head !== null && body.length > 0)).toBe(true);
      const full = lane.broker.accountedBytes;
      expect(full).toBeLessThanOrEqual(MAX);
      for (let i = 0; i < 100; i++) {
        const visitor = small();
        lane.settle();
        expect(visitor.text).toBe("small");
      }
      lane.advance(120_000);
      expect(lane.broker.accountedBytes).toBeLessThanOrEqual(full * 1.1);
      const last = small();
      const oneTooMany = small();
      expect([last.failure, oneTooMany.failure?.code]).toEqual([null, "over-capacity"]);
      lane.settle();
      lane.advance(200_000);
      expect([lane.broker.inFlight, lane.broker.accountedBytes]).toEqual([0, 0]);
      expect(stalled.every(({ broken }) => broken !== null)).toBe(true);
    },
  );

  it("stays below its bound with 1,000 uploads that nobody reads, whose hosts write what they were told", () => {
    const lane = createMemoryLane();
    lane.connect({ limits: { streamWindowBytes: 16 * 1024 } });
    lane.connect({ targets: ["small"], onOpen: (stream) => (stream.respond({ status: 204, headers: [] }, true), {}) });
    const uploads = Array.from({ length: 999 }, () => lane.request({ method: "POST", body: "stream" }));
    const pour = (): void => {
      for (const { call } of uploads) {
        for (let room = call.writable; room > 0; room = call.writable)
          call.write(new Uint8Array(Math.min(room, 65_536)));
      }
    };
    for (let turn = 0; turn < 5; turn++) {
      pour();
      lane.settle();
      expect(lane.broker.accountedBytes).toBeLessThanOrEqual(MAX);
    }
    expect(uploads.every(({ failure }) => failure === null)).toBe(true);
    const small = lane.request({ target: "small", method: "POST", body: "stream" });
    expect(small.call.writable).toBeGreaterThan(0);
    small.call.write(bytesOf("x"));
    small.call.end();
    lane.settle();
    expect(small.head?.status).toBe(204);
    for (const { call } of uploads) call.cancel("gone");
    lane.settle();
    expect(lane.broker.accountedBytes).toBe(0);
  });

  it("stays below its bound with WebSockets whose messages never come to their end", { timeout: 60_000 }, () => {
    const lane = createMemoryLane();
    const long = new Uint8Array(2 * MIB);
    lane.connect({
      limits: { sessionWindowBytes: 64 * MIB },
      onOpen(stream) {
        stream.respond({ status: 101, headers: [] }, false);
        stream.sendMessage("binary", long); // what nobody reads holds it back in the middle
        return {};
      },
    });
    const sockets: MemoryVisitor[] = [];
    for (let i = 0; i < 510; i++) {
      const visitor = lane.request({ body: "websocket" });
      visitor.reads = false;
      sockets.push(visitor);
      lane.settle();
      expect(lane.broker.accountedBytes).toBeLessThanOrEqual(MAX);
    }
    expect(lane.broker.inFlight).toBeLessThanOrEqual(500);
    for (const { call } of sockets) call.cancel("gone");
    lane.settle();
    expect([lane.broker.inFlight, lane.broker.accountedBytes]).toEqual([0, 0]);
  });

  it("refuses rather than grows when a host writes more than it was told", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({ limits: { streamWindowBytes: 16 * 1024 } });
    connector.stuck = true;
    const codes = new Set<string>();
    for (let i = 0; i < 400; i++) {
      const visitor = lane.request({ method: "POST", body: "stream" });
      visitor.call.write(new Uint8Array(100_000));
      expect(lane.broker.accountedBytes).toBeLessThanOrEqual(MAX);
      codes.add(visitor.failure?.code ?? "ok");
    }
    expect(codes).toEqual(new Set(["ok", "over-capacity"]));
    expect(lane.request({ headers: [["x-long", "x".repeat(1_000_000)]] }).failure?.code).toBe("over-capacity");
  });

  it("is all given back, whatever happens in whatever order", { timeout: 60_000 }, () => {
    type Step = readonly [what: number, which: number, bytes: number];
    const step: fc.Arbitrary<Step> = fc.tuple(fc.nat(10), fc.nat(30), fc.nat(200_000));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const { lane } = laneWithBulk();
        const echo = lane.connect({
          targets: ["echo"],
          onOpen: (stream) => {
            stream.respond({ status: 200, headers: [] }, false);
            return {
              data: (bytes) => {
                stream.write(bytes.slice());
                stream.consumed(bytes.length);
              },
              end: () => stream.end(),
            };
          },
        });
        const visitors: MemoryVisitor[] = [];
        for (const [what, which, bytes] of steps) {
          const visitor = visitors[which % Math.max(1, visitors.length)];
          if (what <= 1) {
            const stalled = lane.request({ target: "bulk" });
            stalled.reads = false; // it takes what step 7 says: a target that pours and a visitor that reads never come to rest
            visitors.push(stalled);
          } else if (what === 2) visitors.push(lane.request({ target: "echo", method: "POST", body: "stream" }));
          else if (what === 3) visitor?.call.write(new Uint8Array(bytes));
          else if (what === 4) visitor?.call.end();
          else if (what === 5) visitor?.call.cancel("gone");
          else if (what === 7) visitor?.call.consumed(bytes);
          else if (what === 8) echo.stuck = !echo.stuck;
          else if (what === 9) lane.advance(bytes / 10);
          lane.settle();
          expect(lane.broker.accountedBytes).toBeLessThanOrEqual(MAX);
        }
        for (const { call } of visitors) call.cancel("over");
        echo.stuck = false;
        lane.settle();
        expect([lane.broker.inFlight, lane.broker.accountedBytes]).toEqual([0, 0]);
      }),
      { numRuns: 60 },
    );
  });
});
