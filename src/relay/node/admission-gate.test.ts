import { expect, test } from "vitest";
import { createAdmissionGate } from "./admission-gate.ts";
import { ADMISSION_WAIT_MS, ADMISSIONS_AT_ONCE, RETRY_AFTER_MAX_SECONDS } from "./limits.ts";

/** A machine that takes `costMs` for each admission, one after another, by a clock of its own. */
function world(costMs: number) {
  let nowMs = 1_000;
  const started: number[] = [];
  const finish: (() => void)[] = [];
  const gone = new Set<number>();
  const gate = createAdmissionGate(() => nowMs);
  return {
    started,
    gone,
    dial: (n: number): number | null => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const admit = (): Promise<void> => {
        started.push(n);
        finish.push(resolve);
        return promise;
      };
      return gate.enter(admit, () => gone.has(n));
    },
    stop: (ms: number): void => void (nowMs += ms),
    work: async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++) {
        nowMs += costMs;
        finish.shift()?.();
        await Promise.resolve();
        await Promise.resolve();
      }
    },
  };
}

test("a few are admitted at once, the others in the order in which they came", async () => {
  const { dial, work, started } = world(1);
  for (let n = 0; n < 100; n++) expect(dial(n)).toBe(null);
  expect(started).toHaveLength(ADMISSIONS_AT_ONCE);
  await work(100);
  expect(started).toEqual(Array.from({ length: 100 }, (_, n) => n));
});

test("who gave up while waiting costs nothing", async () => {
  const { dial, work, started, gone } = world(1);
  for (let n = 0; n < 100; n++) dial(n);
  for (let n = 50; n < 90; n++) gone.add(n);
  await work(100);
  expect(started).toHaveLength(60);
});

test("whose turn would come too late is told when there is room: later ones later, within the longest time", async () => {
  const { dial, work, started } = world(5);
  // The machine is found out to be slow.
  for (let n = 0; n < 400; n++) dial(n);
  await work(400);
  const answers = Array.from({ length: 10_000 }, (_, n) => dial(n));
  const taken = answers.filter((answer) => answer === null).length;
  expect(taken * 5).toBeGreaterThan(ADMISSION_WAIT_MS * 0.8);
  expect(taken * 5).toBeLessThan(ADMISSION_WAIT_MS * 1.3);
  const told = answers.filter((answer) => answer !== null);
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  expect(told[0]).toBeGreaterThanOrEqual(ADMISSION_WAIT_MS / 1_000);
  expect(told.at(-1)).toBe(RETRY_AFTER_MAX_SECONDS);
  await work(taken);
  expect(started).toHaveLength(400 + taken);
  // Those who come when there is room again are taken at once.
  expect(dial(0)).toBe(null);
});

test("one that took long, as when the whole process stood still, is not taken for a slow machine", async () => {
  const { dial, work, stop } = world(1);
  for (let n = 0; n < 400; n++) dial(n);
  await work(200);
  stop(60_000);
  await work(100);
  const answers = Array.from({ length: 100 }, (_, n) => dial(n));
  expect(answers).toEqual(answers.map(() => null));
});
