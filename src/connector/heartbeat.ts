import {
  ECHO_BUSY_INTERVAL_MS,
  ECHO_IDLE_INTERVAL_MS,
  ECHO_TIMEOUT_MS,
  KEEP_ALIVE_INTERVAL_MS,
  KEEP_ALIVE_MIN_MS,
} from "./limits.ts";

/**
 * Half-open and black-holed links look well to TCP for many minutes. So the data path itself is asked for an echo (PING), and any message
 * that comes counts as life: behind a bulk transfer the answer itself may be late. In between, WebSocket pings keep middleboxes from
 * cutting a silent socket; the relay's runtime answers them without waking its object.
 */
export interface Pulse {
  /** When a message last came. */
  readonly lastMessageMs: number;
  /** When a message or the answer to a WebSocket ping last came. */
  readonly lastSignMs: number;
  /** When the echo, or the WebSocket ping, that is under way was asked for; null when none is. */
  readonly echoAskedMs: number | null;
  readonly pingAskedMs: number | null;
  readonly openStreams: number;
  /** Between WebSocket pings; null: the default. Idle echoes follow it in proportion. */
  readonly keepAliveMs: number | null;
}

/** What came in the millisecond of asking counts as the answer: on loopback it is, and asking comes only after silence. */
export function heartbeat(pulse: Pulse, nowMs: number): "well" | "echo" | "ping" | "dead" {
  const { lastMessageMs, lastSignMs, echoAskedMs, pingAskedMs, openStreams } = pulse;
  const echoOpen = echoAskedMs !== null && lastMessageMs < echoAskedMs;
  const pingOpen = pingAskedMs !== null && lastSignMs < pingAskedMs;
  if (echoOpen && nowMs - echoAskedMs >= ECHO_TIMEOUT_MS) return "dead";
  if (pingOpen && nowMs - pingAskedMs >= ECHO_TIMEOUT_MS) return "dead";
  const keepAliveMs = Math.max(KEEP_ALIVE_MIN_MS, pulse.keepAliveMs ?? KEEP_ALIVE_INTERVAL_MS);
  const idleMs = (keepAliveMs / KEEP_ALIVE_INTERVAL_MS) * ECHO_IDLE_INTERVAL_MS;
  const silence = openStreams > 0 ? Math.min(idleMs, ECHO_BUSY_INTERVAL_MS) : idleMs;
  if (!echoOpen && nowMs - lastMessageMs >= silence) return "echo";
  return !pingOpen && nowMs - lastSignMs >= keepAliveMs ? "ping" : "well";
}
