import { STREAM_WINDOW_BYTES_MIN } from "./limits.ts";
import type { RoundTrip } from "./round-trip.ts";
import type { ByteBudget } from "./types.ts";

/**
 * The receiving side's accounts. Credit is granted for bytes that were consumed downstream, never for bytes that arrived, so what the peer
 * may send plus what we hold never passes the window: a stalled reader costs its window and no more.
 */

/** What all windows of a session share. */
export interface WindowPolicy {
  readonly budget: ByteBudget;
  /** To which a stream's window may grow. */
  readonly maxBytes: number;
  readonly roundTrip: RoundTrip;
  readonly now: () => number;
  /** A stream's window grew by that much, or (less than 0) gave up what it had grown by. */
  readonly grew: (bytes: number) => void;
}

/** A new stream never gets more than this share of what is left, so that many stalled ones leave room for the next. */
const FIRST_SHARE = 16;
/** One that is read as fast as it comes may have this share of what is left and what it has already: 16 MiB of 64. */
const GROWN_SHARE = 4;
/**
 * A window of W is too small for a rate R when W < R * round trip; grown until it holds two round trips, so that a measured round trip
 * that is a little too short does no harm. (As quic-go does it, which takes four.)
 */
const ROUND_TRIPS_HELD = 2;
/**
 * Granted when this much is free, or half of a smaller window. Less than a quarter of a big one: by then the peer still has three quarters
 * in hand, so the pipe stays full as long as the window is 4/3 of bandwidth times delay.
 */
const GRANT_STEP_BYTES = 256 * 1024;
/**
 * No window grows before its stream's first bytes are this old: until then even a reader that stands still looks fast, since the system's
 * buffers take some MiB for it. A way that needs larger windows has hardly had a second round trip by then.
 */
const GROW_AFTER_MS = 200;
/** At least this part of the session's window is kept for what still moves. */
const MOVING_SHARE = 2;

/** The window that a new stream gets: up to `maxBytes` while the budget has room, down to 16 KiB when it is used up. */
export function firstWindowBytes(maxBytes: number, { totalBytes, committedBytes }: ByteBudget): number {
  const share = Math.floor((totalBytes - committedBytes) / FIRST_SHARE);
  return Math.min(maxBytes, Math.max(STREAM_WINDOW_BYTES_MIN, share));
}

/** One stream's window. The budget is charged with its credit and with what is held. */
export class StreamWindow {
  /** What the peer may still send. Never negative. */
  creditBytes: number;
  /** What it sent and we have not consumed. */
  heldBytes = 0;
  readonly #policy: WindowPolicy;
  readonly #firstBytes: number;
  #targetBytes: number;
  #closed = false;
  #firstByteMs: number | null = null;
  /** Consumed since `#epochMs`; the epoch begins with a byte, so that waiting for an answer does not look like a slow reader. */
  #epochBytes = 0;
  #epochMs: number | null = null;

  constructor(firstBytes: number, policy: WindowPolicy) {
    this.creditBytes = firstBytes;
    this.#firstBytes = firstBytes;
    this.#targetBytes = firstBytes;
    this.#policy = policy;
    policy.budget.committedBytes += firstBytes;
  }

  /** False when the peer sent more than it may. */
  take(bytes: number): boolean {
    if (this.#closed || bytes > this.creditBytes) return false;
    this.creditBytes -= bytes;
    this.heldBytes += bytes;
    this.#epochMs ??= this.#firstByteMs ??= this.#policy.now();
    return true;
  }

  /** Counts as consumed; more than is held counts as all that is held. Answers how much that was. */
  consume(bytes: number): number {
    const counted = Math.min(bytes, this.heldBytes);
    this.heldBytes -= counted;
    this.#epochBytes += counted;
    this.#policy.budget.committedBytes -= counted;
    return counted;
  }

  /** What to grant now, 0 when it is not worth a frame. The grant counts from here on. */
  grant(): number {
    if (this.#closed) return 0;
    this.#grow();
    const target = Math.min(this.#targetBytes, this.#affordableBytes());
    const room = target - this.creditBytes - this.heldBytes;
    if (room < Math.min(target / 2, GRANT_STEP_BYTES)) return 0;
    this.creditBytes += room;
    this.#policy.budget.committedBytes += room;
    return room;
  }

  /** The peer sends no more: its unused credit is given up. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#policy.budget.committedBytes -= this.creditBytes;
    this.creditBytes = 0;
    if (this.#targetBytes > this.#firstBytes) this.#policy.grew(this.#firstBytes - this.#targetBytes);
  }

  #affordableBytes(): number {
    const { totalBytes, committedBytes } = this.#policy.budget;
    const share = Math.floor((totalBytes - committedBytes + this.creditBytes + this.heldBytes) / GROWN_SHARE);
    return Math.max(STREAM_WINDOW_BYTES_MIN, share);
  }

  /** Doubles the window when it is consumed faster than it could hold two round trips. */
  #grow(): void {
    const { maxBytes, roundTrip, now, grew } = this.#policy;
    if (this.#targetBytes >= maxBytes || roundTrip.ms === null) return;
    if (this.#epochMs === null || this.#firstByteMs === null || this.#epochBytes * 2 <= this.#targetBytes) return;
    const nowMs = now();
    if (nowMs - this.#firstByteMs < GROW_AFTER_MS) return;
    const elapsedMs = nowMs - this.#epochMs;
    const before = this.#targetBytes;
    if (elapsedMs * before < ROUND_TRIPS_HELD * this.#epochBytes * roundTrip.ms) {
      this.#targetBytes = Math.max(before, Math.min(2 * before, maxBytes, this.#affordableBytes()));
      grew(this.#targetBytes - before);
    }
    this.#epochBytes = 0;
    this.#epochMs = nowMs;
  }
}

/**
 * The window of the whole session: what was announced plus what its streams' windows have grown by, so that it never caps one of them. What
 * stalled streams hold must not stop the others: half of what they leave free is worth a grant, and half of the window is always kept
 * free, beyond it if need be. That costs no memory that was not promised already, since every stream's own window bounds what is held.
 */
export class SessionWindow {
  creditBytes: number;
  heldBytes = 0;
  #wholeBytes: number;

  constructor(announcedBytes: number) {
    this.creditBytes = announcedBytes;
    this.#wholeBytes = announcedBytes;
  }

  take(bytes: number): boolean {
    if (bytes > this.creditBytes) return false;
    this.creditBytes -= bytes;
    this.heldBytes += bytes;
    return true;
  }

  consume(bytes: number): number {
    const counted = Math.min(bytes, this.heldBytes);
    this.heldBytes -= counted;
    return counted;
  }

  /** Less than 0: streams with grown windows have ended. */
  grow(bytes: number): void {
    this.#wholeBytes += bytes;
  }

  grant(): number {
    const free = Math.max(this.#wholeBytes - this.heldBytes, Math.ceil(this.#wholeBytes / MOVING_SHARE));
    const room = free - this.creditBytes;
    if (room <= 0 || room < Math.min(free / 2, GRANT_STEP_BYTES)) return 0;
    this.creditBytes += room;
    return room;
  }
}
