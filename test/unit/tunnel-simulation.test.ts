import { describe, expect, it } from "vitest";
import { simulate } from "../sim/world.ts";

/**
 * T11: both ends of the tunnel over faulty sockets, one world a seed: no byte lost, doubled or reordered, credit never negative on the
 * wire, every stream ends exactly once, budgets hold and are empty at the end, nothing waits for ever. More seeds: test/sim/tunnel-sim.ts.
 */
const SEEDS = 5_000;

describe("both ends of the tunnel over faulty sockets", () => {
  it(`keep their promises in the worlds of ${SEEDS} seeds`, { timeout: 120_000 }, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        simulate(seed);
      } catch (cause) {
        throw new Error(`seed ${seed}: node test/sim/tunnel-sim.ts --from ${seed} --trace`, { cause });
      }
    }
  });

  it("open streams in the order of their ids whatever their urgency is (found by seed 152)", () => {
    expect(() => simulate(152)).not.toThrow();
  });

  it("do the same again for the same seed", () => {
    const trace = (seed: number): string[] => {
      const lines: string[] = [];
      simulate(seed, (line) => lines.push(line));
      return lines;
    };
    expect(trace(77)).toEqual(trace(77));
  });
});
