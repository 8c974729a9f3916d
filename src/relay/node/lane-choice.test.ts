import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createLaneLoad } from "./lane-choice.ts";

test("an idle pair takes turns", () => {
  const load = createLaneLoad();
  expect([load.choose(), load.choose(), load.choose()]).toEqual(["a", "b", "a"]);
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
      const first = load.choose();
      expect(load.choose()).not.toBe(first);
    }),
  );
});
