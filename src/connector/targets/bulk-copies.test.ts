import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createCopies } from "./bulk-copies.ts";

/** A stream as far as copies see it: what is queued is still there, unchanged, when it is packed. */
function queue() {
  const pieces: { readonly bytes: Buffer; readonly was: number }[] = [];
  const stream = { queuedBytes: 0 };
  const copies = createCopies(stream);
  return {
    read(length: number, value: number): void {
      const bytes = copies.copy(Buffer.alloc(length, value));
      pieces.push({ bytes, was: value });
      stream.queuedBytes += length;
    },
    pack(): void {
      const piece = pieces.shift();
      if (piece === undefined) return;
      stream.queuedBytes -= piece.bytes.length;
      expect(piece.bytes.every((byte) => byte === piece.was)).toBe(true);
    },
    drain(): void {
      while (pieces.length > 0) this.pack();
      copies.settle();
    },
  };
}

test("what waits in a queue is never overwritten, however reads and messages of many streams alternate", () => {
  const step = fc.record({
    stream: fc.nat(7),
    length: fc.oneof(fc.integer({ min: 1, max: 2_000 }), fc.integer({ min: 15_000, max: 66_000 })),
    packs: fc.nat(3),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const streams = Array.from({ length: 8 }, queue);
      for (const [i, { stream, length, packs }] of steps.entries()) {
        streams[stream]?.read(length, i % 251);
        for (let n = 0; n < packs; n++) streams[(stream + n) % 8]?.pack();
      }
      for (const stream of streams) stream.drain();
    }),
    { numRuns: 60 },
  );
});
