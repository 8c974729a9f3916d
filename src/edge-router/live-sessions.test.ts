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

test("a session is asked for once in a while, and one that was ended is found out by then", async () => {
  let isLive = true;
  const { seen, live } = setUp(() => Promise.resolve(isLive));
  expect(await live.isLive("ses_1")).toBe(true);
  isLive = false;
  seen.nowMs = LIMITS.sessionCheckMs - 1;
  expect([await live.isLive("ses_1"), seen.asked]).toEqual([true, 1]);
  seen.nowMs = LIMITS.sessionCheckMs;
  expect([await live.isLive("ses_1"), seen.asked]).toEqual([false, 2]);
});

test("an ended session stays ended without asking", async () => {
  const { seen, live } = setUp(() => Promise.resolve(true));
  expect(await live.isLive("ses_1")).toBe(true);
  live.noteEnded("ses_1");
  seen.nowMs = 10 * LIMITS.sessionCheckMs;
  expect([await live.isLive("ses_1"), seen.asked]).toEqual([false, 1]);
  expect(await live.isLive("ses_2")).toBe(true);
});

test("a check under way does not bring back a session that is ended meanwhile", async () => {
  let answer = (_isLive: boolean) => {};
  const { live } = setUp(() => new Promise((resolve) => (answer = resolve)));
  const checked = live.isLive("ses_1");
  live.noteEnded("ses_1");
  answer(true);
  expect([await checked, await live.isLive("ses_1")]).toEqual([false, false]);
});

test("a portal that fails or hangs ends nobody's session, and is asked again soon", async () => {
  const failing = setUp(() => Promise.reject(new Error("down")));
  expect([await failing.live.isLive("ses_1"), await failing.live.isLive("ses_1")]).toEqual([true, true]);
  expect([failing.seen.asked, failing.seen.failures]).toEqual([1, 1]);
  failing.seen.nowMs = LIMITS.sessionRecheckMs;
  await failing.live.isLive("ses_1");
  expect(failing.seen.asked).toBe(2);

  const hanging = setUp(() => new Promise(() => {}));
  const checked = hanging.live.isLive("ses_1");
  hanging.seen.fire();
  expect([await checked, hanging.seen.failures]).toEqual([true, 1]);
});
