import { describe, expect, it } from "vitest";
import { overdue, type ExchangeTimes, type Overdue } from "./timers.ts";
import { FIRST_BYTE_MS, IDLE_MS, IDLE_SOCKET_MS, STALLED_MS, UNWANTED_UPLOAD_MS } from "../limits.ts";

const LIMITS = {
  firstByteMs: FIRST_BYTE_MS,
  stalledMs: STALLED_MS,
  idleMs: IDLE_MS,
  idleSocketMs: IDLE_SOCKET_MS,
  totalMs: null,
};
const MINUTE = 60_000;
const at = (change: Partial<ExchangeTimes>): Overdue =>
  overdue({ phase: "answering", quietMs: 0, ageMs: 0, heldBytes: 0, streamOver: false, ...change }, LIMITS);

describe("an exchange", () => {
  it("that is silent but alive goes on for almost an hour, then it ends", () => {
    expect([59 * MINUTE, 61 * MINUTE].map((quietMs) => at({ quietMs }))).toEqual([null, "idle"]);
  });

  it("that is a WebSocket may be silent for a day: pings of its ends never come here", () => {
    const quiet = [23 * 60 * MINUTE, 25 * 60 * MINUTE];
    expect(quiet.map((quietMs) => at({ phase: "socket", quietMs }))).toEqual([null, "idle"]);
  });

  it("whose visitor takes nothing of what waits ends sooner, also when the target has finished", () => {
    for (const streamOver of [false, true]) {
      expect(at({ quietMs: STALLED_MS, heldBytes: 1, streamOver })).toBe(null);
      expect(at({ quietMs: STALLED_MS + 1, heldBytes: 1, streamOver })).toBe("stalled");
    }
  });

  it("waits for the first byte, and for an upload that nobody reads, as long as their limits say", () => {
    expect(at({ phase: "waiting", quietMs: FIRST_BYTE_MS })).toBe(null);
    expect(at({ phase: "waiting", quietMs: FIRST_BYTE_MS + 1 })).toBe("first-byte");
    expect(at({ phase: "answered", quietMs: UNWANTED_UPLOAD_MS + 1 })).toBe("unwanted-upload");
    expect(at({ phase: "answered", quietMs: UNWANTED_UPLOAD_MS + 1, streamOver: true })).toBe(null);
  });
});
