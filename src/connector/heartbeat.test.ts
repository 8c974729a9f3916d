import { expect, test } from "vitest";
import { heartbeat } from "./heartbeat.ts";
import { ECHO_BUSY_INTERVAL_MS, ECHO_IDLE_INTERVAL_MS, ECHO_TIMEOUT_MS } from "./limits.ts";

test("silence makes it ask, sooner while streams are open", () => {
  const idle = { lastReceivedMs: 0, askedMs: null, openStreams: 0 };
  expect(heartbeat(idle, ECHO_BUSY_INTERVAL_MS)).toBe("well");
  expect(heartbeat(idle, ECHO_IDLE_INTERVAL_MS)).toBe("ask");
  expect(heartbeat({ ...idle, openStreams: 1 }, ECHO_BUSY_INTERVAL_MS)).toBe("ask");
});

test("no byte after the question is death", () => {
  const asked = { lastReceivedMs: 0, askedMs: 30_000, openStreams: 0 };
  expect(heartbeat(asked, 30_000 + ECHO_TIMEOUT_MS - 1)).toBe("well");
  expect(heartbeat(asked, 30_000 + ECHO_TIMEOUT_MS)).toBe("dead");
});

test("any byte after the question is life, even when the answer itself is late", () => {
  const now = 30_000 + ECHO_TIMEOUT_MS;
  expect(heartbeat({ lastReceivedMs: now - 1, askedMs: 30_000, openStreams: 3 }, now)).toBe("well");
});

test("a machine that slept asks first", () => {
  expect(heartbeat({ lastReceivedMs: 0, askedMs: null, openStreams: 0 }, 3_600_000)).toBe("ask");
});
