import type { Random } from "./random.ts";
import type { Timeline } from "./timeline.ts";

/** How a socket is. Times in milliseconds. */
export interface WireShape {
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly bytesPerMs: number;
  /** What waits in the sender's socket before its host stops to pack messages. */
  readonly highWaterBytes: number;
}

/** One direction of one socket: in order, nothing twice, nothing lost while it lives. */
export interface Wire {
  /** Bytes that have not left yet. */
  readonly bufferedBytes: number;
  send(message: Uint8Array): void;
  /** What is under way, and what will be sent, never arrives: cut, or a black hole. */
  cut(): void;
}

export function createWire(
  shape: WireShape,
  time: Timeline,
  random: Random,
  ports: { arrived(message: Uint8Array): void; drained(): void },
): Wire {
  let alive = true;
  let buffered = 0;
  let freeMs = 0;
  let lastArrivalMs = 0;
  return {
    get bufferedBytes() {
      return buffered;
    },
    send(message) {
      const now = time.now();
      buffered += message.length;
      freeMs = Math.max(freeMs, now) + message.length / shape.bytesPerMs;
      lastArrivalMs = Math.max(lastArrivalMs, freeMs + shape.delayMs + random.between(0, shape.jitterMs));
      time.after(freeMs - now, () => {
        buffered -= message.length;
        if (buffered < shape.highWaterBytes) ports.drained();
      });
      time.after(lastArrivalMs - now, () => {
        if (alive) ports.arrived(message);
      });
    },
    cut() {
      alive = false;
    },
  };
}
