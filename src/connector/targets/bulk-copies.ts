import type { Stream } from "../../protocol/tunnel/session.ts";
import { BULK_AFTER_BYTES, BULK_BLOCK_BYTES, BULK_BLOCKS_KEPT, BULK_READ_BYTES } from "../limits.ts";

/** A block in use: `end` is how far the stream's body has come with the last of it. */
interface Held {
  readonly block: Buffer;
  end: number;
}

const free: Buffer[] = [];
/** Whoever holds blocks: what of them was sent since they were last asked is free too. */
const holders = new Set<Copies>();

function takeBlock(): Buffer {
  if (free.length === 0) for (const holder of holders) holder.settle();
  return free.pop() ?? Buffer.allocUnsafeSlow(BULK_BLOCK_BYTES);
}

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
export function createCopies(stream: Pick<Stream, "queuedBytes">): Copies {
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
    if (held.length === 0) holders.delete(copies);
  };

  const copies: Copies = {
    copy(bytes) {
      settle();
      const end = total + bytes.length;
      const isBulk = end > BULK_AFTER_BYTES || bytes.length >= BULK_READ_BYTES;
      if (!isBulk || bytes.length > BULK_BLOCK_BYTES) {
        total = end;
        return Buffer.from(bytes);
      }
      let last = held.at(-1);
      if (last === undefined || used + bytes.length > BULK_BLOCK_BYTES) {
        last = { block: takeBlock(), end: 0 };
        held.push(last);
        holders.add(copies);
        used = 0;
      }
      const copy = last.block.subarray(used, used + bytes.length);
      copy.set(bytes);
      used += bytes.length;
      last.end = end;
      total = end; // not before: nothing may settle between this and the stream's queue
      return copy;
    },
    settle,
  };
  return copies;
}
