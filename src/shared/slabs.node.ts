/** Send buffers that are used again once the socket has written them: fresh ones would keep the garbage collector busy (a quarter of the CPU under bulk). */
export interface Slabs {
  allocate(bytes: number): Uint8Array;
  /** `message` may be a view of what `allocate` gave. Only after the socket's callback: it may send from this very memory. */
  release(message: Uint8Array): void;
}

export interface SlabLimits {
  readonly slabBytes: number;
  /** Free ones that are kept. */
  readonly kept: number;
  /** Up to this a message comes from Node's pool, which is cheaper than to keep it. */
  readonly smallBytes: number;
}

export function createSlabs({ slabBytes, kept, smallBytes }: SlabLimits): Slabs {
  const free: ArrayBuffer[] = [];
  return {
    allocate(bytes) {
      if (bytes <= smallBytes) return Buffer.allocUnsafe(bytes);
      // Not of the pool; and not zeroed, since all of it is written before it is sent.
      if (bytes > slabBytes) return Buffer.allocUnsafeSlow(bytes);
      return new Uint8Array(free.pop() ?? new ArrayBuffer(slabBytes));
    },
    release({ buffer }) {
      if (buffer instanceof ArrayBuffer && buffer.byteLength === slabBytes && free.length < kept) free.push(buffer);
    },
  };
}
