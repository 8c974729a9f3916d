import { ECHO_BUSY_INTERVAL_MS, ECHO_IDLE_INTERVAL_MS, ECHO_TIMEOUT_MS } from "./limits.ts";

/**
 * Half-open and black-holed links look well to TCP for many minutes. So the data path itself is asked for an echo, and any byte that comes
 * counts as life: behind a bulk transfer the answer itself may be late.
 */
export interface Pulse {
  /** When a message last came. */
  readonly lastReceivedMs: number;
  /** When the echo that is under way was asked for; null when none is. */
  readonly askedMs: number | null;
  readonly openStreams: number;
}

export function heartbeat(pulse: Pulse, nowMs: number): "well" | "ask" | "dead" {
  const { lastReceivedMs, askedMs, openStreams } = pulse;
  if (askedMs !== null && lastReceivedMs <= askedMs) return nowMs - askedMs >= ECHO_TIMEOUT_MS ? "dead" : "well";
  const interval = openStreams > 0 ? ECHO_BUSY_INTERVAL_MS : ECHO_IDLE_INTERVAL_MS;
  return nowMs - lastReceivedMs >= interval ? "ask" : "well";
}
