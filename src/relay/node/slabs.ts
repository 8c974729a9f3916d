import { SLAB_BYTES, SLABS_KEPT, SMALL_MESSAGE_BYTES } from "./limits.ts";

/** Send buffers that are used again once the socket has written them: fresh ones keep the garbage collector busy under bulk. */
export interface Slabs {
  allocate(bytes: number): Uint8Array;
  /** `message` may be a view of what `allocate` gave. Only after the socket's callback: `ws` sends from this very memory. */
  release(message: Uint8Array): void;
}

export function createSlabs(): Slabs {
  const free: ArrayBuffer[] = [];
  return {
    allocate(bytes) {
      if (bytes <= SMALL_MESSAGE_BYTES) return Buffer.allocUnsafe(bytes);
      if (bytes > SLAB_BYTES) return Buffer.allocUnsafeSlow(bytes);
      return new Uint8Array(free.pop() ?? new ArrayBuffer(SLAB_BYTES));
    },
    release({ buffer }) {
      if (buffer instanceof ArrayBuffer && buffer.byteLength === SLAB_BYTES && free.length < SLABS_KEPT)
        free.push(buffer);
    },
  };
}
