import type { Stream } from "../../protocol/tunnel/session.ts";
import { BULK_AFTER_BYTES, BULK_BLOCK_BYTES, BULK_BLOCKS_KEPT } from "../limits.ts";

/** A block in use: `end` is how far the stream's body has come with the last of it. */
interface Held {
  readonly block: Buffer;
  end: number;
}

const free: Buffer[] = [];

/** Copies of what a client reads, which is good only until its handler returns, for a stream that keeps it until it is in a message. */
export interface Copies {
  copy(bytes: Buffer): Buffer;
  /** Gives back what the stream has packed. At the latest when it has ended. */
  settle(): void;
}

/**
 * Bulk goes through blocks that all streams share: a fresh copy of each read would feed the major GC, and one that stands still keeps no more
 * than what it could not send.
 */
export function createCopies(stream: Stream): Copies {
  const held: Held[] = [];
  let used = 0;
  let total = 0;

  const settle = (): void => {
    const sent = total - stream.queuedBytes;
    while (held[0] !== undefined && held[0].end <= sent) {
      const { block } = held[0];
      held.shift();
      if (free.length < BULK_BLOCKS_KEPT) free.push(block);
    }
  };

  return {
    copy(bytes) {
      settle(); // before these count: they are not in the stream's queue yet
      total += bytes.length;
      if (total <= BULK_AFTER_BYTES || bytes.length > BULK_BLOCK_BYTES) return Buffer.from(bytes);
      let last = held.at(-1);
      if (last === undefined || used + bytes.length > BULK_BLOCK_BYTES) {
        last = { block: free.pop() ?? Buffer.allocUnsafeSlow(BULK_BLOCK_BYTES), end: 0 };
        held.push(last);
        used = 0;
      }
      const copy = last.block.subarray(used, used + bytes.length);
      copy.set(bytes);
      used += bytes.length;
      last.end = total;
      return copy;
    },
    settle,
  };
}
