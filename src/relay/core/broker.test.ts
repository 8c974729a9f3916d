import { describe, expect, it } from "vitest";
import { answering, createMemoryLane } from "../../../test/support/memory-lane.ts";

describe("a request", () => {
  it("reaches a connector that announced the target, and its answer comes back to who asked", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({
      onOpen: (stream, request) => answering(`answer to ${request.path}`)(stream, request),
    });
    const visitors = ["/1", "/2", "/3"].map((path) => lane.request({ path }));
    lane.settle();
    expect(visitors.map(({ head, text, trailers }) => [head?.status, text, trailers])).toEqual([
      [200, "answer to /1", []],
      [200, "answer to /2", []],
      [200, "answer to /3", []],
    ]);
    expect(connector.requests[0]).toMatchObject({ target: "web", method: "GET", urgency: 3, deadlineMs: 50_000 });
    expect(visitors[0]?.about).toMatchObject({ lane: "a", attempts: 1, waitedMs: 0, software: "memory connector" });
    expect(lane.records).toMatchObject([{ status: 200, code: null, bytesDown: 12 }, {}, {}]);
    expect([lane.broker.inFlight, lane.broker.accountedBytes, lane.broker.busy]).toEqual([0, 0, false]);
  });
});
