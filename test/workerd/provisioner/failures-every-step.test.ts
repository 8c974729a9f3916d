import { describe, expect, test } from "vitest";
import { INJECTIONS, settle } from "./failure-injections.ts";
import { arranged, KINDS } from "./failure-kinds.ts";
import { makeSubject } from "./failure-subject.ts";
import { operationOf, world } from "./support.ts";

const w = world();

/**
 * Every operation, every step of it, everything that can go wrong there, once each: the end is always the wanted state (or, in between, a
 * failed operation with its reason, which a retry brings there), never two of something, never half of it.
 */
describe.each(KINDS)("$name", ({ steps, arrange }) => {
  test("ends as wanted, whatever happens once at whichever step (H51, H52, R12)", async () => {
    const subject = await makeSubject(w);
    let round = 0;
    for (const [position, step] of steps.entries())
      for (const injection of INJECTIONS.filter((one) => one.steps?.includes(step) !== false)) {
        const where = `${step}: ${injection.name}`;
        const wanted = await arranged(w, subject, round++, arrange);
        try {
          const operationId = await injection.inject(w, wanted, position);
          await settle(w, operationId, w.ports, wanted.others);
          const { operation, steps: done } = await operationOf(w, operationId);
          expect(operation).toMatchObject({ state: "succeeded", reason: null, leaseToken: null });
          expect(new Set(done.map(({ state }) => state))).toEqual(new Set(["done"]));
          await wanted.check();
        } catch (cause) {
          throw new Error(`${where}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
        }
      }
  }, 300_000);
});
