import { expect, test } from "vitest";
import { CRASH_LOOP_DEATHS, RESTART_FIRST_DELAY_MS, RESTART_FORGET_AFTER_MS, RESTART_MAX_DELAY_MS } from "../limits.ts";
import { FRESH_HISTORY, afterDeath } from "./restart-policy.ts";

test("delays double up to the maximum, and deaths in a row are a crash loop", () => {
  let history = FRESH_HISTORY;
  const delays: number[] = [];
  const loops: boolean[] = [];
  for (let death = 0; death < 12; death++) {
    const decision = afterDeath(history, 10);
    history = decision.history;
    delays.push(decision.delayMs);
    loops.push(decision.crashLoop);
  }
  expect(delays.slice(0, 3)).toEqual([RESTART_FIRST_DELAY_MS, RESTART_FIRST_DELAY_MS * 2, RESTART_FIRST_DELAY_MS * 4]);
  expect(delays.at(-1)).toBe(RESTART_MAX_DELAY_MS);
  expect(loops.indexOf(true)).toBe(CRASH_LOOP_DEATHS - 1);
});

test("a good life is forgotten trouble", () => {
  const troubled = afterDeath({ deathsInARow: 9 }, 10);
  expect(troubled.crashLoop).toBe(true);
  expect(afterDeath(troubled.history, RESTART_FORGET_AFTER_MS)).toEqual({
    history: { deathsInARow: 1 },
    delayMs: RESTART_FIRST_DELAY_MS,
    crashLoop: false,
  });
});
