import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { NETWORK_POLL_MS } from "./limits.ts";
import { machineAddresses, watchNetwork } from "./network-watch.ts";

let now: { addresses: string; wall: number; monotonic: number };
let reasons: string[];
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  now = { addresses: "eth0 192.0.2.1", wall: 1_000_000, monotonic: 0 };
  reasons = [];
  const ports = { addresses: () => now.addresses, wall: () => now.wall, monotonic: () => now.monotonic };
  stop = watchNetwork(ports, (why) => reasons.push(why));
});
afterEach(() => {
  stop();
  vi.useRealTimers();
});

function look(wallMs = NETWORK_POLL_MS, monotonicMs = NETWORK_POLL_MS): void {
  now.wall += wallMs;
  now.monotonic += monotonicMs;
  vi.advanceTimersByTime(NETWORK_POLL_MS);
}

test("nothing is said while nothing changes", () => {
  for (let i = 0; i < 10; i++) look(NETWORK_POLL_MS + i, NETWORK_POLL_MS);
  expect(reasons).toEqual([]);
});

test("other addresses, a jump of the clock, a sleep, a standstill: each is told once", () => {
  now.addresses = "wlan0 198.51.100.7";
  look();
  look(3_600_000); // the clock was set, or the machine slept and its monotonic clock with it
  look(-3_600_000);
  look(60_000, 60_000);
  look();
  expect(reasons).toEqual([
    "this machine's addresses changed",
    "the clock jumped, or this machine slept",
    "the clock jumped, or this machine slept",
    "this process stood still",
  ]);
});

test("a machine's own addresses leave out loopback and link-local ones", () => {
  expect(machineAddresses()).not.toMatch(/127\.0\.0\.1|fe80:|169\.254\./);
});
