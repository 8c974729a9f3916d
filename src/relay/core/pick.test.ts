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

  it("is the less loaded of the two that were drawn, whichever came first, and of equals one that is clearly nearer", () => {
    const busy = candidate(5);
    const idle = candidate(1);
    const near = candidate(1, 3);
    const far = candidate(1, 80);
    expect(pick([busy, idle], drawing(0, 0))).toBe(idle);
    expect(pick([busy, idle], drawing(0.9, 0))).toBe(idle);
    expect(pick([far, near], drawing(0, 0))).toBe(near);
    expect(pick([busy, idle, near], drawing(0, 0.9))).toBe(near); // draws busy, then the last of the rest
  });

  it("asks the nearer one of equals whichever was drawn first, and work counts before nearness", () => {
    const near = candidate(1, 3);
    const far = candidate(1, 80);
    expect(pick([near, far], drawing(0, 0))).toBe(near);
    expect(pick([near, far], drawing(0.9, 0))).toBe(near);
    const idleFar = candidate(0, 80);
    expect(pick([near, idleFar], drawing(0, 0))).toBe(idleFar);
    const tiredNear = candidate(1, 3, 0.9);
    expect(pick([tiredNear, far], drawing(0, 0))).toBe(far);
  });

  it.each([
    ["unmeasured", [null, null, null, null]],
    ["one of them measured", [1, null, null, null]],
    ["a millisecond or three away", [1, 2, 3, 3]],
    ["twice as far, but by less than anybody feels", [1, 20, 10, 5]],
    ["far by much, but by no factor", [200, 250, 300, 390]],
  ])("shares evenly among idle ones: %s", (_, rtts) => {
    const all = rtts.map((rttMs) => candidate(0, rttMs));
    const counts = new Map(all.map((each) => [each, 0]));
    // A draw for every pair, each as often as any other.
    for (const at of [0, 0.25, 0.5, 0.75])
      for (const other of [0, 0.34, 0.67]) {
        const picked = pick(all, drawing(at, other));
        if (picked !== null) counts.set(picked, (counts.get(picked) ?? 0) + 1);
      }
    expect([...counts.values()]).toEqual([3, 3, 3, 3]);
  });
});
