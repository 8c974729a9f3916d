import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Claim, judge } from "./host-claim.ts";
import type { Verdict } from "./host-proof.ts";

const HOUR = 3_600_000;
const NOW = 1_800_000_000_000;
const proven: Verdict = { kind: "proven", method: "txt" };
const missing: Verdict = { kind: "missing", reason: "no record" };
const unknown: Verdict = { kind: "unknown", reason: "the resolver is away" };
const claim = (state: Claim["state"], ageHours: number): Claim => ({ state, stateSinceMs: NOW - ageHours * HOUR });
const after = (state: Claim["state"], ageHours: number, verdict: Verdict) =>
  judge(claim(state, ageHours), verdict, NOW, 0.5);

describe("a claim", () => {
  test("is verified by its proof, whatever it was before", () => {
    for (const state of ["pending", "stale", "failed"] as const)
      expect(after(state, 1, proven)).toEqual({
        state: "verified",
        stateSinceMs: NOW,
        reason: null,
        nextCheckMs: NOW + 6 * HOUR,
        serve: true,
      });
    expect(after("verified", 5, proven).stateSinceMs).toBe(NOW - 5 * HOUR);
  });

  test("that waits is checked every minute, then less and less often, and given up after a week", () => {
    const nextMinutes = (ageHours: number) => {
      const { state, nextCheckMs, serve } = after("pending", ageHours, missing);
      expect(serve).toBe(false);
      return nextCheckMs === null ? state : (nextCheckMs - NOW) / 60_000;
    };
    expect([0, 0.2, 0.3, 1.9, 2.1, 167, 169].map(nextMinutes)).toEqual([1, 1, 5, 5, 60, 60, "failed"]);
  });

  test("whose proof is gone is served for three days more, then withdrawn; a proof in between mends it", () => {
    expect(after("verified", 100, missing)).toMatchObject({ state: "stale", stateSinceMs: NOW, serve: true });
    expect(after("stale", 71, missing)).toMatchObject({ state: "stale", stateSinceMs: NOW - 71 * HOUR, serve: true });
    expect(after("stale", 71, proven)).toMatchObject({ state: "verified", serve: true });
    expect(after("stale", 73, missing)).toMatchObject({ state: "failed", nextCheckMs: null, serve: false });
    expect(after("stale", 73, missing).reason).toMatch(/^withdrawn, .*no record$/);
  });

  test("is not judged while the resolver is away, however long that takes", () => {
    for (const state of ["verified", "stale"] as const)
      expect(after(state, 1_000, unknown)).toMatchObject({ state, serve: true, reason: "the resolver is away" });
    expect(after("pending", 1, unknown)).toMatchObject({ state: "pending", serve: false });
  });

  test("is served if and only if a proof was seen since it was last withdrawn or made", () => {
    const verdict = fc.constantFrom(proven, missing, unknown);
    const history = fc.array(
      fc.tuple(verdict, fc.integer({ min: 1, max: 200 }), fc.double({ min: 0, max: 0.999, noNaN: true })),
    );
    fc.assert(
      fc.property(history, (steps) => {
        let now = NOW;
        let state: Claim = { state: "pending", stateSinceMs: now };
        let servedFor: number | null = null;
        let lastProofMs = 0;
        for (const [seen, hours, random] of steps) {
          now += hours * HOUR;
          const judged = judge(state, seen, now, random);
          if (seen.kind === "proven") lastProofMs = servedFor = now;
          if (judged.state === "failed") servedFor = null;
          expect(judged.serve).toBe(servedFor !== null);
          expect(judged.serve).toBe(judged.state === "verified" || judged.state === "stale");
          if (judged.state === "verified") expect(judged.reason === null).toBe(seen.kind === "proven");
          if (state.state === "stale" && judged.state === "failed")
            expect(now - lastProofMs).toBeGreaterThanOrEqual(72 * HOUR);
          if (judged.nextCheckMs !== null) expect(judged.nextCheckMs).toBeGreaterThan(now);
          state = judged;
        }
      }),
    );
  });
});
