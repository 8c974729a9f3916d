import { expect, it } from "vitest";
import { RoundTrip } from "./round-trip.ts";
import { StreamWindow } from "./window.ts";

const KIB = 1024;
const FIRST_BYTES = 128 * KIB;

/** A reader that takes all at once, behind a way of 100 ms. Answers what the peer may have under way at most, by the end of each round trip. */
function fastReader(roundTrips: number): number[] {
  let nowMs = 0;
  const roundTrip = new RoundTrip();
  roundTrip.measured(100, nowMs);
  const budget = { totalBytes: 64 * KIB * KIB, committedBytes: 0 };
  const policy = { budget, maxBytes: 16 * KIB * KIB, roundTrip, now: () => nowMs, grew: () => undefined };
  const window = new StreamWindow(FIRST_BYTES, policy);
  return Array.from({ length: roundTrips }, () => {
    for (let left = window.creditBytes; left > 0; left -= 16 * KIB) {
      window.take(16 * KIB);
      window.consume(16 * KIB);
      window.grant();
    }
    nowMs += 100;
    return window.creditBytes;
  });
}

it("keeps the first window of a reader that looks fast at first: the system's buffers take some MiB of one that stands still", () => {
  expect(fastReader(2)).toEqual([FIRST_BYTES, FIRST_BYTES]);
});

it("then grows to what a reader takes on a long way", () => {
  expect(fastReader(20).at(-1)).toBeGreaterThanOrEqual(10_000_000);
});
