import type { Stream } from "../../protocol/tunnel/session.ts";
import { BULK_AFTER_BYTES, BULK_BUFFER_BYTES } from "../limits.ts";

/**
 * Copies of what a client reads, which is good only until its handler returns, for a stream that keeps it until it is in a message. Bulk goes
 * through one buffer that begins anew whenever the stream has packed everything: a fresh one for each read would feed the major GC.
 */
export function createCopies(stream: Stream): (bytes: Buffer) => Buffer {
  let bulk: Buffer | null = null;
  let used = 0;
  let seen = 0;
  return (bytes) => {
    seen += bytes.length;
    if (seen <= BULK_AFTER_BYTES) return Buffer.from(bytes);
    bulk ??= Buffer.allocUnsafeSlow(BULK_BUFFER_BYTES);
    if (stream.queuedBytes === 0) used = 0;
    else if (used === 0) return Buffer.from(bytes); // earlier copies are still in the queue
    if (used + bytes.length > bulk.length) return Buffer.from(bytes);
    const copy = bulk.subarray(used, used + bytes.length);
    copy.set(bytes);
    used += bytes.length;
    return copy;
  };
}
