import { UNWANTED_UPLOAD_MS } from "../limits.ts";

/** What the timers of one request at one connector look at. */
export interface ExchangeTimes {
  readonly phase:
    /** No final head yet. */
    | "waiting"
    /** The head came, the answer goes on. */
    | "answering"
    /** The whole answer came. */
    | "answered"
    /** A WebSocket that was accepted. */
    | "socket";
  /** While waiting: since the request itself last got on. Else since the last frame in either direction, or since bytes were last taken. */
  readonly quietMs: number;
  /** Since the request came. */
  readonly ageMs: number;
  /** Bytes of the answer that the visitor has not taken. */
  readonly heldBytes: number;
  readonly streamOver: boolean;
}

export interface ExchangeLimits {
  readonly firstByteMs: number;
  readonly stalledMs: number;
  readonly idleMs: number;
  readonly idleSocketMs: number;
  /** Null: no limit. */
  readonly totalMs: number | null;
}

/** Why an exchange must end now; null: it may go on. */
export type Overdue = "first-byte" | "stalled" | "idle" | "total" | "unwanted-upload" | null;

export function overdue(times: ExchangeTimes, limits: ExchangeLimits): Overdue {
  const { phase, quietMs, heldBytes, streamOver } = times;
  if (limits.totalMs !== null && times.ageMs > limits.totalMs) return "total";
  if (phase === "waiting") return quietMs > limits.firstByteMs ? "first-byte" : null;
  if (phase === "answered" && !streamOver && quietMs > UNWANTED_UPLOAD_MS) return "unwanted-upload";
  if (heldBytes > 0 && quietMs > limits.stalledMs) return "stalled";
  return quietMs > (phase === "socket" ? limits.idleSocketMs : limits.idleMs) ? "idle" : null;
}
