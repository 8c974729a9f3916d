import { describe, expect, it } from "vitest";
import { pick } from "./pick.ts";

const candidate = (inFlight: number, rttMs: number | null = null, load = 0) => ({ inFlight, rttMs, load });
/** Answers with these numbers, one after another. */
const drawing = (...numbers: number[]) => {
  let at = 0;
  return () => numbers[at++ % numbers.length] ?? 0;
};

describe("the choice among connectors", () => {
  it("is nobody of none, and the only one of one", () => {
    expect(pick([], Math.random)).toBeNull();
    const only = candidate(9);
    expect(pick([only], () => 0.99)).toBe(only);
  });

  it("is the less loaded of the two that were drawn, whichever came first, and the nearer one of equals", () => {
    const busy = candidate(5);
    const idle = candidate(1);
    const near = candidate(1, 3);
    const far = candidate(1, 80);
    expect(pick([busy, idle], drawing(0, 0))).toBe(idle);
    expect(pick([busy, idle], drawing(0.9, 0))).toBe(idle);
    expect(pick([far, near], drawing(0, 0))).toBe(near);
    expect(pick([busy, idle, near], drawing(0, 0.9))).toBe(near); // draws busy, then the last of the rest
  });

  it("spreads over all", () => {
    const all = [candidate(0), candidate(0), candidate(0), candidate(0)];
    const seen = new Set(Array.from({ length: 200 }, () => pick(all, Math.random)));
    expect(seen.size).toBe(4);
  });
});
