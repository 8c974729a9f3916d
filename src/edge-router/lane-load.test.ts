import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createLaneLoad } from "./lane-load.ts";

const load = (random = 0) =>
  createLaneLoad(
    () => 0,
    () => random,
    5_000,
  );

test("an idle tenant's lanes are drawn", () => {
  expect(load(0.4).choose("ten_1")).toBe("a");
  expect(load(0.6).choose("ten_1")).toBe("b");
});

test("the lane with less under way is chosen, for each tenant apart", () => {
  const lanes = load();
  lanes.begin("ten_1", "a", "light");
  expect(lanes.choose("ten_1")).toBe("b");
  expect(lanes.choose("ten_2")).toBe("a");
});

test("a lane with bulk is avoided, however much else the other one has", () => {
  const lanes = load();
  const lease = lanes.begin("ten_1", "a", "bulk");
  for (let i = 0; i < 50; i++) lanes.begin("ten_1", "b", "light");
  expect(lanes.choose("ten_1")).toBe("b");
  lease.end();
  lease.end();
  expect(lanes.choose("ten_1")).toBe("a");
});

test("a lane that did not answer is the last choice for a while", () => {
  let nowMs = 0;
  const lanes = createLaneLoad(
    () => nowMs,
    () => 0,
    5_000,
  );
  lanes.suspect("ten_1", "a", 2_000);
  lanes.begin("ten_1", "b", "bulk");
  expect(lanes.choose("ten_1")).toBe("b");
  nowMs = 2_000;
  expect(lanes.choose("ten_1")).toBe("a");
});

test("what was begun and ended leaves nothing behind", () => {
  const step = fc.record({
    lane: fc.constantFrom("a" as const, "b" as const),
    weight: fc.constantFrom("light" as const, "bulk" as const),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const lanes = load(0.9);
      const leases = steps.map(({ lane, weight }) => lanes.begin("ten_1", lane, weight));
      for (const lease of leases) lease.end();
      expect(lanes.choose("ten_1")).toBe("b");
      lanes.begin("ten_1", "b", "light");
      expect(lanes.choose("ten_1")).toBe("a");
    }),
  );
});

test("what nobody ends runs out, unless it is renewed", () => {
  let nowMs = 0;
  const lanes = createLaneLoad(
    () => nowMs,
    () => 0,
    5_000,
  );
  const lease = lanes.begin("ten_1", "a", "bulk");
  nowMs = 4_000;
  lease.renew();
  nowMs = 8_999;
  expect(lanes.choose("ten_1")).toBe("b");
  nowMs = 9_000;
  expect(lanes.choose("ten_1")).toBe("a");
  lease.renew();
  expect(lanes.choose("ten_1")).toBe("a");
});
