import { array, assert, integer, property } from "fast-check";
import { expect, test } from "vitest";
import { median, pairedRatio, summarize } from "./statistics.ts";

test("median is the middle value, or the mean of the middle two", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([7])).toBe(7);
  expect(median([])).toBeNaN();
});

test("median lies between the extremes and ignores order", () => {
  assert(
    property(array(integer({ min: 0, max: 1e6 }), { minLength: 1 }), (values) => {
      const middle = median(values);
      expect(middle).toBeGreaterThanOrEqual(Math.min(...values));
      expect(middle).toBeLessThanOrEqual(Math.max(...values));
      expect(median(values.toReversed())).toBe(middle);
    }),
  );
});

test("a summary carries the spread as a share of the median", () => {
  expect(summarize([90, 100, 120])).toEqual({ median: 100, min: 90, max: 120, spread: 0.15 });
  expect(summarize([5])).toEqual({ median: 5, min: 5, max: 5, spread: 0 });
});

test("values that were not available are left out; none at all is null", () => {
  expect(summarize([null, 4, null])?.median).toBe(4);
  expect(summarize([null, null])).toBeNull();
  expect(summarize([0, 0])?.spread).toBe(0);
});

test("ratios are taken within a repeat, not between medians", () => {
  // Repeat 2 was disturbed for both: the ratio is not.
  expect(pairedRatio([80, 8, 82], [100, 10, 100])).toEqual(summarize([0.8, 0.8, 0.82]));
  expect(pairedRatio([1, null, 3], [2, 2, 0])?.median).toBe(0.5);
  expect(pairedRatio([1], [])).toBeNull();
});
