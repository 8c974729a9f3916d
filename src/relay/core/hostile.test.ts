import { describe, expect, it } from "vitest";
import { answering, createMemoryLane } from "../../../test/support/memory-lane.ts";
import { INTERIMS_MAX } from "../limits.ts";

describe("a connector that means harm", () => {
  it("can't fill the memory with interim answers, which no window holds back", () => {
    const lane = createMemoryLane();
    const connector = lane.connect({
      onOpen: (stream) => {
        for (let i = 0; i < 1_000; i++) stream.interim({ status: 103, headers: [["link", "</x>"]] });
        return {};
      },
    });
    const visitor = lane.request();
    lane.settle();
    expect(visitor.interims).toHaveLength(INTERIMS_MAX);
    expect(visitor.failure).toMatchObject({ code: "target-reset", tryElsewhere: false });
    expect(visitor.failure?.detail).toContain("too many interim answers");
    expect([lane.broker.inFlight, connector.closed]).toEqual([0, null]);
    connector.onOpen = answering("well");
    const next = lane.request();
    lane.settle();
    expect(next.text).toBe("well");
  });

  it("can't fill the log with refusals of settings: one line for each push", () => {
    const lane = createMemoryLane();
    const connector = lane.connect();
    lane.settings({ keepAliveMs: 5_000 });
    for (let i = 0; i < 100; i++)
      connector.session.acknowledgeConfig({ revision: 0, ok: false, reason: `no, and no again: ${i}` });
    lane.settle();
    expect(lane.logs.filter((line) => line.includes("no, and no again"))).toHaveLength(1);
    expect(lane.broker.sessions()[0]?.configured).toMatchObject({ ok: false, reason: "no, and no again: 99" });
  });
});
