import { utf8Within } from "./control.ts";
import { FLAG, WS_KIND, writeU16 } from "./frame.ts";
import type { Frame } from "./frame.ts";
import { RESET_TEXT_BYTES_MAX, WS_PARTS_FREE_BYTES, WS_REASON_BYTES_MAX } from "./limits.ts";
import { resetCode } from "./reasons.ts";
import type { WireResetReason } from "./reasons.ts";
import type { ByteBudget, TunnelledMessage } from "./types.ts";

export type MessagePart =
  | { readonly kind: "more" }
  | { readonly kind: "whole"; readonly message: Pick<TunnelledMessage, "kind" | "data"> }
  | { readonly kind: "out-of-place" }
  | { readonly kind: "too-long" };

/**
 * Puts one WebSocket message at a time together. Its bytes are copied into one array, so that many short frames don't keep the messages of
 * the socket alive that they came in. The stream's window pays for them; where a message is longer, the budget does (`charge`).
 */
export class MessageAssembly {
  readonly #longestBytes: number;
  readonly #budget: ByteBudget;
  #kind: number | null = null;
  #space = new Uint8Array(0);
  #bytes = 0;
  #chargedBytes = 0;

  constructor(longestBytes: number, budget: ByteBudget) {
    this.#longestBytes = longestBytes;
    this.#budget = budget;
  }

  add({ payload, flags }: Frame): MessagePart {
    const kind = payload[0];
    if (kind !== WS_KIND.text && kind !== WS_KIND.binary) return { kind: "out-of-place" };
    if (this.#kind !== null && this.#kind !== kind) return { kind: "out-of-place" };
    const part = payload.subarray(1);
    const fin = (flags & FLAG.fin) !== 0;
    const bytes = this.#bytes + part.length;
    if (bytes > this.#longestBytes) return { kind: "too-long" };
    const name = kind === WS_KIND.text ? "text" : "binary";
    if (fin && this.#kind === null) return { kind: "whole", message: { kind: name, data: part } };
    this.#kind = kind;
    this.#append(part);
    if (!fin) return { kind: "more" };
    const data = this.#space.subarray(0, bytes);
    this.clear();
    return { kind: "whole", message: { kind: name, data } };
  }

  /** Before parts of so many bytes give their credit back. False: the budget has no room for what may come for it. */
  charge(bytes: number): boolean {
    const { totalBytes, committedBytes } = this.#budget;
    if (this.#bytes > WS_PARTS_FREE_BYTES && committedBytes + bytes > totalBytes) return false;
    this.#budget.committedBytes += bytes;
    this.#chargedBytes += bytes;
    return true;
  }

  clear(): void {
    this.#budget.committedBytes -= this.#chargedBytes;
    this.#chargedBytes = 0;
    this.#kind = null;
    this.#space = new Uint8Array(0);
    this.#bytes = 0;
  }

  #append(part: Uint8Array): void {
    const bytes = this.#bytes + part.length;
    if (bytes > this.#space.length) {
      const space = new Uint8Array(Math.min(Math.max(2 * bytes, 1024), this.#longestBytes));
      space.set(this.#space.subarray(0, this.#bytes));
      this.#space = space;
    }
    this.#space.set(part, this.#bytes);
    this.#bytes = bytes;
  }
}

/** Payload of a WS_MSG that closes. The reason is cut at 123 bytes. */
export function encodeMessageClose(code: number, reason: string): Uint8Array {
  const text = utf8Within(reason, WS_REASON_BYTES_MAX);
  const payload = new Uint8Array(3 + text.length);
  payload[0] = WS_KIND.close;
  writeU16(payload, 1, code);
  payload.set(text, 3);
  return payload;
}

/** Payload of RESET. */
export function encodeReset(reason: WireResetReason, text: string): Uint8Array {
  const words = utf8Within(text, RESET_TEXT_BYTES_MAX);
  const payload = new Uint8Array(1 + words.length);
  payload[0] = resetCode(reason);
  payload.set(words, 1);
  return payload;
}
