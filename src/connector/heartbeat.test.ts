import { expect, test } from "vitest";
import { heartbeat, type Pulse } from "./heartbeat.ts";
import {
  ECHO_BUSY_INTERVAL_MS,
  ECHO_IDLE_INTERVAL_MS,
  ECHO_TIMEOUT_MS,
  KEEP_ALIVE_INTERVAL_MS,
  KEEP_ALIVE_MIN_MS,
} from "./limits.ts";

const idle: Pulse = {
  lastMessageMs: 0,
  lastSignMs: 0,
  echoAskedMs: null,
  pingAskedMs: null,
  openStreams: 0,
  keepAliveMs: null,
};

test("an idle socket is kept alive by pings that wake nobody, and proved now and then by an echo", () => {
  expect(heartbeat(idle, KEEP_ALIVE_INTERVAL_MS - 1)).toBe("well");
  expect(heartbeat(idle, KEEP_ALIVE_INTERVAL_MS)).toBe("ping");
  expect(heartbeat({ ...idle, pingAskedMs: KEEP_ALIVE_INTERVAL_MS }, KEEP_ALIVE_INTERVAL_MS + 1)).toBe("well");
  expect(heartbeat({ ...idle, lastSignMs: ECHO_IDLE_INTERVAL_MS - 1 }, ECHO_IDLE_INTERVAL_MS)).toBe("echo");
});

test("with streams open silence is asked about sooner", () => {
  expect(heartbeat({ ...idle, openStreams: 1 }, ECHO_BUSY_INTERVAL_MS)).toBe("echo");
});

test("no message after an echo, or no sign after a ping, is death", () => {
  const asked = { ...idle, echoAskedMs: 30_000, lastSignMs: 31_000 };
  expect(heartbeat(asked, 30_000 + ECHO_TIMEOUT_MS - 1)).not.toBe("dead");
  expect(heartbeat(asked, 30_000 + ECHO_TIMEOUT_MS)).toBe("dead");
  expect(heartbeat({ ...idle, pingAskedMs: 30_000 }, 30_000 + ECHO_TIMEOUT_MS)).toBe("dead");
});

test("any message after the echo is life, even when the answer itself is late", () => {
  const now = 30_000 + ECHO_TIMEOUT_MS;
  const bulk = { ...idle, lastMessageMs: now - 1, lastSignMs: now - 1, echoAskedMs: 30_000, openStreams: 3 };
  expect(heartbeat(bulk, now)).toBe("well");
});

test("a machine that slept asks first", () => {
  expect(heartbeat(idle, 3_600_000)).toBe("echo");
});

test("an answer within the millisecond of asking is one", () => {
  const asked = {
    ...idle,
    lastMessageMs: 0,
    lastSignMs: 25_000,
    echoAskedMs: null,
    pingAskedMs: 25_000,
    openStreams: 0,
  };
  expect(heartbeat(asked, 25_000 + ECHO_TIMEOUT_MS)).not.toBe("dead");
  const echoed = { ...asked, lastMessageMs: 25_000, echoAskedMs: 25_000, pingAskedMs: null };
  expect(heartbeat(echoed, 25_000 + ECHO_TIMEOUT_MS)).not.toBe("dead");
});

test("a pushed keep-alive makes both kinds of questions come sooner, down to a bound", () => {
  const quick: Pulse = { ...idle, keepAliveMs: 5_000 };
  expect(heartbeat(quick, 5_000)).toBe("ping");
  expect(heartbeat({ ...quick, lastSignMs: 12_000 }, 12_000)).toBe("echo");
  expect(heartbeat({ ...idle, keepAliveMs: 1 }, KEEP_ALIVE_MIN_MS - 1)).toBe("well");
});
