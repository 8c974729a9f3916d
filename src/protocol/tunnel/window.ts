import { STREAM_WINDOW_BYTES_MIN } from "./limits.ts";
import type { ByteBudget } from "./types.ts";

/**
 * The receiving side's account of one stream or of the session. Credit is granted for bytes that were consumed downstream, never for bytes
 * that arrived, so what the peer may send plus what we hold never passes the window: a stalled reader costs its window and no more.
 */
export interface ReceiveWindow {
  /** What the peer may still send. Never negative. */
  readonly creditBytes: number;
  /** What it sent and we have not consumed. */
  readonly heldBytes: number;
  /** False when the peer sent more than it may. */
  take(bytes: number): boolean;
  /** Counts as consumed; more than is held counts as all that is held. Answers how much that was. */
  consume(bytes: number): number;
  /** What to grant now, 0 when it is not worth a frame (less than half of the window). The grant counts from here on. */
  grant(): number;
  /** The peer sends no more: its unused credit is given up. */
  close(): void;
}

/** `targetBytes` is asked at each grant, so windows can shrink and grow while a stream runs. `budget` is charged with credit and held bytes. */
export function createReceiveWindow(
  initialBytes: number,
  targetBytes: () => number,
  budget: ByteBudget | null,
): ReceiveWindow {
  let credit = initialBytes;
  let held = 0;
  let closed = false;
  const charge = (bytes: number): void => {
    if (budget !== null) budget.committedBytes += bytes;
  };
  charge(initialBytes);
  return {
    get creditBytes() {
      return credit;
    },
    get heldBytes() {
      return held;
    },
    take(bytes) {
      if (closed || bytes > credit) return false;
      credit -= bytes;
      held += bytes;
      return true;
    },
    consume(bytes) {
      const counted = Math.min(bytes, held);
      held -= counted;
      charge(-counted);
      return counted;
    },
    grant() {
      if (closed) return 0;
      const target = targetBytes();
      const room = target - credit - held;
      if (room < target / 2) return 0;
      credit += room;
      charge(room);
      return room;
    },
    close() {
      if (closed) return;
      closed = true;
      charge(-credit);
      credit = 0;
    },
  };
}

/** One stream never gets more than this share of what is left, so that many stalled ones leave room for the next. */
const SHARE = 16;

/** The window that a stream gets now: up to `maxBytes` while the budget has room, down to 16 KiB when it is used up. */
export function streamWindow(maxBytes: number, budget: ByteBudget): number {
  const share = Math.floor((budget.totalBytes - budget.committedBytes) / SHARE);
  return Math.min(maxBytes, Math.max(STREAM_WINDOW_BYTES_MIN, share));
}
