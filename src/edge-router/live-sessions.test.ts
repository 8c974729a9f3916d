import { expect, test } from "vitest";
import { LIMITS } from "./limits.ts";
import { createLiveSessions } from "./live-sessions.ts";

function setUp(answer: () => Promise<boolean>) {
  const seen = { nowMs: 0, asked: 0, failures: 0, fire: () => {} };
  const live = createLiveSessions({
    ask: () => {
      seen.asked += 1;
      return answer();
    },
    now: () => seen.nowMs,
    timer: (_ms, fire) => {
      seen.fire = fire;
      return () => {};
    },
    onFailure: () => void (seen.failures += 1),
  });
  return { seen, live };
}

const ignore = (): void => undefined;

test("a session is asked for behind the request, and before it when the last answer is old", async () => {
  let isLive = true;
  const { seen, live } = setUp(() => Promise.resolve(isLive));
  const behind: Promise<unknown>[] = [];
  const ask = () => live.isLive("ses_1", (work) => void behind.push(work));
  expect(await ask()).toBe(true);
  seen.nowMs = LIMITS.sessionFreshMs - 1;
  expect([await ask(), seen.asked]).toEqual([true, 1]);
  seen.nowMs = LIMITS.sessionFreshMs;
  isLive = false;
  expect([await ask(), await ask(), behind.length, seen.asked]).toEqual([true, true, 1, 2]);
  await Promise.all(behind);
  expect([await ask(), seen.asked]).toEqual([false, 2]);

  const old = setUp(() => Promise.resolve(isLive));
  isLive = true;
  expect(await old.live.isLive("ses_1", ignore)).toBe(true);
  isLive = false;
  old.seen.nowMs = LIMITS.sessionServedMs;
  expect([await old.live.isLive("ses_1", ignore), old.seen.asked]).toEqual([false, 2]);
});

test("an ended session stays ended without asking", async () => {
  const { seen, live } = setUp(() => Promise.resolve(true));
  expect(await live.isLive("ses_1", ignore)).toBe(true);
  live.noteEnded("ses_1");
  seen.nowMs = 10 * LIMITS.sessionServedMs;
  expect([await live.isLive("ses_1", ignore), seen.asked]).toEqual([false, 1]);
  expect(await live.isLive("ses_2", ignore)).toBe(true);
});

test("a check under way does not bring back a session that is ended meanwhile", async () => {
  let answer = (_isLive: boolean) => {};
  const { live } = setUp(() => new Promise((resolve) => (answer = resolve)));
  const checked = live.isLive("ses_1", ignore);
  live.noteEnded("ses_1");
  answer(true);
  expect([await checked, await live.isLive("ses_1", ignore)]).toEqual([false, false]);
});

test("a portal that fails or hangs ends nobody's session, and is asked again soon", async () => {
  const failing = setUp(() => Promise.reject(new Error("down")));
  expect([await failing.live.isLive("ses_1", ignore), await failing.live.isLive("ses_1", ignore)]).toEqual([
    true,
    true,
  ]);
  expect([failing.seen.asked, failing.seen.failures]).toEqual([1, 1]);
  failing.seen.nowMs = LIMITS.sessionRecheckMs;
  await failing.live.isLive("ses_1", ignore);
  expect(failing.seen.asked).toBe(2);

  const hanging = setUp(() => new Promise(() => {}));
  const checked = hanging.live.isLive("ses_1", ignore);
  hanging.seen.fire();
  expect([await checked, hanging.seen.failures]).toEqual([true, 1]);
});
