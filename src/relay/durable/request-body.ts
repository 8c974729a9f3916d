import { BODY_READ_BYTES, BODY_READ_LEAST_BYTES } from "../limits.ts";
import type { Call } from "../core/types.ts";
import { createSignal } from "./signal.ts";

/** A visitor's request body on its way into a call. */
export interface RequestBody {
  /** The call has room again, or is over. */
  wake(): void;
}

/** Reads as much as the call wants and no more. `brokenOff`: the visitor's side failed; it is told nothing by this. */
export function pumpRequestBody(source: ReadableStream<Uint8Array>, call: Call, brokenOff: () => void): RequestBody {
  const room = createSignal();
  const reader = source.getReader({ mode: "byob" });

  const pump = async (): Promise<void> => {
    for (;;) {
      while (!call.closed && call.writable <= 0) await room.wait();
      if (call.closed) break;
      const bytes = Math.min(BODY_READ_BYTES, Math.max(BODY_READ_LEAST_BYTES, call.writable));
      const { value, done } = await reader.read(new Uint8Array(bytes));
      // A few bytes don't keep the memory that was there for many.
      if (value !== undefined && value.length > 0) call.write(value.length * 2 < bytes ? value.slice() : value);
      if (done) return call.end();
    }
    await reader.cancel();
  };
  pump().catch(() => {
    // Also when nobody wants the rest and the visitor is gone: the call is over then, and this does nothing.
    if (!call.closed) brokenOff();
  });

  return { wake: () => room.raise() };
}
