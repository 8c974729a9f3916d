import * as fc from "fast-check";
import { expect, test } from "vitest";
import { BACKOFF_MAX_MS, MAX_STEP_ATTEMPTS, MAX_WAIT_MS, WAIT_MAX_MS, WAIT_MIN_MS } from "./limits.ts";
import { backoffMs, decide } from "./machine.ts";

test("a done step leads to the next", () => {
  expect(decide({ kind: "done" }, { attempts: 3, waitedMs: 1e9 }, 0)).toEqual({ kind: "next" });
});

test("errors are retried with backoff and given up at the last attempt, with the reason", () => {
  const error = { kind: "error", reason: "the directory did not answer" } as const;
  expect(decide(error, { attempts: 0, waitedMs: 0 }, 0)).toEqual({
    kind: "pause",
    delayMs: 500,
    reason: error.reason,
    failedAttempt: true,
  });
  expect(decide(error, { attempts: MAX_STEP_ATTEMPTS - 2, waitedMs: 0 }, 0).kind).toBe("pause");
  expect(decide(error, { attempts: MAX_STEP_ATTEMPTS - 1, waitedMs: 0 }, 0)).toEqual({
    kind: "fail",
    reason: `${error.reason} (given up after ${MAX_STEP_ATTEMPTS} attempts)`,
  });
});

test("waiting is no failed attempt, looks less and less often, and ends", () => {
  const wait = { kind: "wait", reason: "the node is offline" } as const;
  expect(decide(wait, { attempts: 0, waitedMs: 0 }, 0)).toMatchObject({ delayMs: WAIT_MIN_MS, failedAttempt: false });
  expect(decide(wait, { attempts: 0, waitedMs: 20_000 }, 0)).toMatchObject({ delayMs: 5_000 });
  expect(decide(wait, { attempts: 0, waitedMs: MAX_WAIT_MS - 1 }, 0)).toMatchObject({ delayMs: WAIT_MAX_MS });
  expect(decide(wait, { attempts: 0, waitedMs: MAX_WAIT_MS }, 0)).toMatchObject({ kind: "fail" });
});

test("what can't work is not tried again", () => {
  const outcome = { kind: "give-up", reason: "Envoy refused the route" } as const;
  expect(decide(outcome, { attempts: 0, waitedMs: 0 }, 0)).toEqual({ kind: "fail", reason: outcome.reason });
});

test("backoff doubles, stays within its bounds and never is zero", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
      const delay = backoffMs(attempt, random);
      expect(delay).toBeGreaterThanOrEqual(500);
      expect(delay).toBeLessThanOrEqual(BACKOFF_MAX_MS);
      if (attempt < 6) expect(backoffMs(attempt + 1, 0)).toBeGreaterThanOrEqual(2 * backoffMs(attempt, 0));
    }),
  );
});
