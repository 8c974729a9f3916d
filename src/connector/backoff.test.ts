import * as fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs, pauseMs, refusedPauseMs, retryAfterMs } from "./backoff.ts";

const limits = { baseMs: 250, capMs: 8000 };

test("the pause doubles up to its cap and is a random part of that", () => {
  const most = () => 0.999_999;
  expect([0, 1, 2, 5, 6, 500].map((attempt) => backoffMs(attempt, limits, most))).toEqual([
    249, 499, 999, 7999, 7999, 7999,
  ]);
  expect(backoffMs(9, limits, () => 0)).toBe(0);
});

test("no attempt waits longer than the cap, for ever", () => {
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempt, random) => {
      const pause = backoffMs(attempt, limits, () => random);
      return pause >= 0 && pause < limits.capMs;
    }),
  );
});

test("Retry-After is a lower bound, spread and capped", () => {
  expect(pauseMs(500, null, 300_000, () => 0)).toBe(500);
  expect(pauseMs(500, 2000, 300_000, () => 0)).toBe(2000);
  expect(pauseMs(500, 2000, 300_000, () => 0.5)).toBe(2500);
  expect(pauseMs(5000, 2000, 300_000, () => 0)).toBe(5000);
  expect(pauseMs(0, 86_400_000, 300_000, () => 0)).toBe(300_000);
});

test("Retry-After is read in both of its forms", () => {
  const now = Date.UTC(2026, 10, 21, 12, 0, 0);
  expect(retryAfterMs("7", now)).toBe(7000);
  expect(retryAfterMs("Sat, 21 Nov 2026 12:00:05 GMT", now)).toBe(5000);
  expect(retryAfterMs("Sat, 21 Nov 2026 11:00:05 GMT", now)).toBe(0);
  expect(retryAfterMs("soon", now)).toBe(null);
  expect(retryAfterMs(undefined, now)).toBe(null);
});

test("a refused credential is shown again four times in the first minute, and at least once a minute for ever", () => {
  for (const random of [() => 0, () => 0.999]) {
    const pauses = [0, 1, 2, 3, 4, 5, 6, 500].map((refusals) => refusedPauseMs(refusals, random));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(60_000);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1_000);
    expect(pauses.slice(0, 4).reduce((sum, pause) => sum + pause)).toBeLessThan(60_000);
  }
});
