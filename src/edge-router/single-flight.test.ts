import { beforeEach, expect, test } from "vitest";
import { createSingleFlight, type SingleFlight } from "./single-flight.ts";

const LIMITS = { trustedMs: 500, lostMs: 4_000, maxKeys: 3 };
let nowMs = 0;
let timers = new Set<{ readonly atMs: number; readonly fire: () => void }>();
let flights: SingleFlight<string>;
/** How often work was begun. */
let begun = 0;
let behind: Promise<unknown>[] = [];

beforeEach(() => {
  nowMs = 0;
  timers = new Set();
  begun = 0;
  behind = [];
  const timer = (ms: number, fire: () => void) => {
    const one = { atMs: nowMs + ms, fire };
    timers.add(one);
    return () => void timers.delete(one);
  };
  flights = createSingleFlight({ now: () => nowMs, timer }, LIMITS);
});

async function pass(ms: number): Promise<void> {
  for (const endMs = nowMs + ms; nowMs < endMs;) {
    nowMs += 1;
    for (const one of timers) {
      if (one.atMs > nowMs) continue;
      timers.delete(one);
      one.fire();
    }
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }
}

/** Takes so long; null: forever. */
const lasting = (ms: number | null, value: string) => (): Promise<string> => {
  begun += 1;
  return new Promise((resolve) => {
    if (ms !== null) timers.add({ atMs: nowMs + ms, fire: () => resolve(value) });
  });
};
const run = (work: () => Promise<string>, key = "key"): Promise<string> =>
  flights.run(key, work, (kept) => void behind.push(kept));

test("those who come meanwhile get the outcome of the first one's work, soon after it is there", async () => {
  const first = run(lasting(100, "first"));
  await pass(10);
  const others = Array.from({ length: 64 }, () => run(lasting(1, "other")));
  let gotAtMs = 0;
  void Promise.all(others).then(() => (gotAtMs = nowMs));
  await pass(490);
  expect(await first).toBe("first");
  expect(new Set(await Promise.all(others))).toEqual(new Set(["first"]));
  expect(gotAtMs).toBeLessThanOrEqual(120);
  expect(begun).toBe(1);
});

test("keys have nothing to do with one another", async () => {
  const answers = [run(lasting(5, "one"), "a"), run(lasting(5, "two"), "b")];
  await pass(5);
  expect(await Promise.all(answers)).toEqual(["one", "two"]);
});

test("it is begun anew when it is over", async () => {
  for (const value of ["one", "two"]) {
    const answer = run(lasting(1, value));
    await pass(1);
    expect(await answer).toBe(value);
  }
  expect(begun).toBe(2);
  expect(flights.isUnderWay("key")).toBe(false);
});

test("when whoever began it is gone, one of those who wait begins anew, for all of them", async () => {
  void run(lasting(null, "lost"));
  await pass(200);
  const others = Array.from({ length: 10 }, () => run(lasting(50, "again")));
  // They have waited for what is left of the trusted time, and then for the new one.
  await pass(300 + 50 + 20);
  expect(new Set(await Promise.all(others))).toEqual(new Set(["again"]));
  expect(begun).toBe(2);
});

test("nobody waits longer than twice the trusted time before it asks for itself", async () => {
  void run(lasting(null, "lost"));
  await pass(1);
  const works = [lasting(null, "lost too"), lasting(1, "own"), lasting(1, "own")];
  const [, ...others] = works.map((work) => run(work));
  await pass(2 * LIMITS.trustedMs + 50);
  expect(await Promise.all(others)).toEqual(["own", "own"]);
});

test("it is kept going behind the request that began it, and counts as under way until it must be lost", async () => {
  void run(lasting(null, "lost"));
  expect(behind).toHaveLength(1);
  await pass(LIMITS.lostMs);
  expect(flights.isUnderWay("key")).toBe(true);
  await pass(1);
  expect(flights.isUnderWay("key")).toBe(false);
});

test("lost ones don't pile up", async () => {
  for (const key of ["a", "b", "c", "d"]) void run(lasting(null, "lost"), key);
  expect(["a", "b", "c", "d"].map((key) => flights.isUnderWay(key))).toEqual([false, true, true, true]);
});
