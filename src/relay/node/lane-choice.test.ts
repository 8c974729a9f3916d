import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createLaneLoad } from "./lane-choice.ts";

test("small requests stay together, until they are too many", () => {
  const load = createLaneLoad();
  const lanes = Array.from({ length: 300 }, () => {
    const lane = load.choose();
    load.begin(lane);
    return lane;
  });
  expect(new Set(lanes.slice(0, 100))).toEqual(new Set(["a"]));
  expect(lanes.filter((lane) => lane === "b").length).toBeGreaterThan(50);
});

test("small requests go where no bulk is, however many they are", () => {
  const load = createLaneLoad();
  const bulk = load.begin("a");
  bulk.bulk();
  for (let i = 0; i < 50; i++) {
    expect(load.choose()).toBe("b");
    load.begin("b");
  }
  bulk.end();
  bulk.end();
  const other = load.begin("b");
  other.bulk();
  expect(load.choose()).toBe("a");
});

test("whatever came and went, nothing is left of it", () => {
  const step = fc.record({ lane: fc.constantFrom("a" as const, "b" as const), bulk: fc.integer({ min: 0, max: 2 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const load = createLaneLoad();
      const leases = steps.map(({ lane, bulk }) => {
        const lease = load.begin(lane);
        for (let i = 0; i < bulk; i++) lease.bulk();
        return lease;
      });
      for (const lease of leases.toReversed()) lease.end();
      // One bulk on a lane decides only if nothing else counts any more.
      const check = load.begin("a");
      check.bulk();
      expect(load.choose()).toBe("b");
      check.end();
      load.begin("b").bulk();
      expect(load.choose()).toBe("a");
    }),
  );
});
