import { UNWANTED_UPLOAD_MS } from "./limits.ts";

/** What the timers of one exchange look at. */
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
  /** Since the last frame of the stream in either direction, or since bytes were last taken by the visitor. */
  readonly quietMs: number;
  /** Bytes of the answer that the visitor has not taken. */
  readonly heldBytes: number;
  readonly streamOver: boolean;
}

export interface ExchangeLimits {
  readonly firstByteMs: number;
  readonly stalledMs: number;
  readonly idleMs: number;
  readonly idleSocketMs: number;
}

/** Why an exchange must end now; null: it may go on. */
export type Overdue = "first-byte" | "stalled" | "idle" | "unwanted-upload" | null;

export function overdue(times: ExchangeTimes, limits: ExchangeLimits): Overdue {
  const { phase, quietMs, heldBytes, streamOver } = times;
  if (phase === "waiting") return quietMs > limits.firstByteMs ? "first-byte" : null;
  if (phase === "answered" && !streamOver && quietMs > UNWANTED_UPLOAD_MS) return "unwanted-upload";
  if (heldBytes > 0 && quietMs > limits.stalledMs) return "stalled";
  return quietMs > (phase === "socket" ? limits.idleSocketMs : limits.idleMs) ? "idle" : null;
}
