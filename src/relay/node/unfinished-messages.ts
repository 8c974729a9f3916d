/**
 * What visitors' WebSockets hold of messages that have not come to their end: `ws` puts a message together in memory, and whoever sends all of
 * it but the last byte makes us keep it. One bound for all sockets: beyond it the one that has cost most so far (bytes times age) is ended.
 */
export interface UnfinishedMessages {
  readonly bytes: number;
  /** Of one socket. `end` has to close it at once. */
  open(end: () => void): UnfinishedMessage;
}

export interface UnfinishedMessage {
  /** Bytes came from the network; said before they are looked at. */
  received(bytes: number): void;
  /** A message of so many bytes is whole. */
  finished(bytes: number): void;
  /** A ping or pong of so many bytes, maybe between the parts of a message. */
  control(bytes: number): void;
  /** The socket is closed. */
  gone(): void;
}

/** Least header of a client's frame: two bytes and the mask. */
const FRAME_HEADER_BYTES = 6;

/** `now`: milliseconds of a clock that never jumps. */
export function createUnfinishedMessages(bytesMax: number, now: () => number): UnfinishedMessages {
  const holders = new Set<Holder>();
  let total = 0;

  const set = (holder: Holder, bytes: number): void => {
    total += bytes - holder.bytes;
    holder.bytes = bytes;
  };
  function endDearest(): void {
    const nowMs = now();
    let dearest: Holder | null = null;
    let most = 0;
    for (const holder of holders) {
      const cost = holder.bytes * (nowMs - holder.sinceMs + 1);
      if (cost > most) [dearest, most] = [holder, cost];
    }
    if (dearest === null) return;
    holders.delete(dearest);
    set(dearest, 0);
    dearest.end();
  }

  return {
    get bytes() {
      return total;
    },
    open(end) {
      const holder: Holder = { bytes: 0, lastBytes: 0, sinceMs: 0, end };
      holders.add(holder);
      return {
        received(bytes) {
          if (!holders.has(holder)) return;
          if (holder.bytes === 0) holder.sinceMs = now();
          holder.lastBytes = bytes;
          set(holder, holder.bytes + bytes);
          if (total > bytesMax) endDearest();
        },
        finished(bytes) {
          // What is left belongs to the next one, so it came with the last bytes; the rest was headers.
          set(holder, Math.max(0, Math.min(holder.bytes - bytes - FRAME_HEADER_BYTES, holder.lastBytes)));
          holder.sinceMs = now();
        },
        control(bytes) {
          set(holder, Math.max(0, holder.bytes - bytes - FRAME_HEADER_BYTES));
        },
        gone() {
          holders.delete(holder);
          set(holder, 0);
        },
      };
    },
  };
}

interface Holder {
  bytes: number;
  /** Of the last piece that came. */
  lastBytes: number;
  /** When what it holds began to come. */
  sinceMs: number;
  readonly end: () => void;
}
