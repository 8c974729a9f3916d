import * as fc from "fast-check";
import { expect, test } from "vitest";
import { fullBucket, take } from "./token-bucket.ts";

test("takes its reserve at once, then one in each interval, and says when the next one is there", () => {
  const bucket = fullBucket(2, 0);
  const perMs = 1 / 1_000;
  expect([take(bucket, 2, perMs, 0), take(bucket, 2, perMs, 0)]).toEqual([0, 0]);
  expect(take(bucket, 2, perMs, 0)).toBe(1_000);
  expect(take(bucket, 2, perMs, 600)).toBe(400);
  expect(take(bucket, 2, perMs, 1_000)).toBe(0);
  expect(take(bucket, 2, perMs, 100)).toBeGreaterThan(0);
});

test("never gives more than the reserve and what has grown since", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.array(fc.integer({ min: 0, max: 500 })), (capacity, pauses) => {
      const bucket = fullBucket(capacity, 0);
      let nowMs = 0;
      let given = 0;
      for (const pause of pauses) {
        nowMs += pause;
        if (take(bucket, capacity, 1 / 100, nowMs) === 0) given += 1;
      }
      expect(given).toBeLessThanOrEqual(capacity + nowMs / 100 + 1e-6);
    }),
  );
});
