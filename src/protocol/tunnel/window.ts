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
  /** What to grant now, 0 when it is not worth a frame. The grant counts from here on. */
  grant(): number;
  /** The peer sends no more: its unused credit is given up. */
  close(): void;
}

/**
 * One stream's window: granted when half of it is free. `targetBytes` is asked at each grant, so it can shrink and grow while the stream
 * runs. `budget` is charged with credit and held bytes.
 */
export function createStreamWindow(
  initialBytes: number,
  targetBytes: () => number,
  budget: ByteBudget | null,
): ReceiveWindow {
  return createWindow(initialBytes, budget, (credit, held) => {
    const target = targetBytes();
    const room = target - credit - held;
    return room < target / 2 ? 0 : room;
  });
}

/** At least this part of the session's window is kept for what still moves. */
const MOVING_SHARE = 8;

/**
 * The window of the whole session. What stalled streams hold must not stop the others: half of what they leave free is worth a grant, and
 * an eighth of the window is always kept free, beyond it if need be. That costs no memory that was not promised already, since every
 * stream's own window bounds what is held.
 */
export function createSessionWindow(windowBytes: number): ReceiveWindow {
  const leastBytes = Math.ceil(windowBytes / MOVING_SHARE);
  return createWindow(windowBytes, null, (credit, held) => {
    const free = Math.max(windowBytes - held, leastBytes);
    return credit > free / 2 ? 0 : free - credit;
  });
}

function createWindow(
  initialBytes: number,
  budget: ByteBudget | null,
  worthGranting: (credit: number, held: number) => number,
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
      const bytes = worthGranting(credit, held);
      credit += bytes;
      charge(bytes);
      return bytes;
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
