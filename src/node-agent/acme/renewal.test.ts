import { expect, test } from "vitest";
import { LIMITS } from "../limits.ts";
import { renewAtMs, retryMs } from "./renewal.ts";

const DAY_MS = 86_400_000;

test("a certificate of 90 days is renewed 30 to 33 days before it ends", () => {
  const life = { beginsAtMs: 0, endsAtMs: 90 * DAY_MS };
  expect(renewAtMs(life, 0)).toBe(60 * DAY_MS);
  expect(renewAtMs(life, 1)).toBe(57 * DAY_MS);
});

test("pauses after failures double up to a bound, and differ by chance", () => {
  expect([1, 2, 3].map((failures) => retryMs(failures, 0))).toEqual([1, 2, 4].map((n) => n * LIMITS.acmeRetryMinMs));
  expect(retryMs(50, 0)).toBe(LIMITS.acmeRetryMaxMs);
  expect(retryMs(1, 1)).toBe(LIMITS.acmeRetryMinMs * 0.8);
});
