import { FLAG, FRAME, FRAME_KIND_BYTES, WS_KIND } from "./frame.ts";
import { CREDIT_BYTES_MAX, FRAME_HEADER_BYTES } from "./limits.ts";
import type { MessageBuilder } from "./message-builder.ts";

/** What all streams of a session share while they send. */
export interface Carrier {
  /** Session credit: body bytes that all streams together may still send. */
  creditBytes: number;
  /** The peer's longest message. */
  peerMessageBytes: number;
}

type Item =
  | {
      readonly kind: "frame";
      readonly type: number;
      readonly flags: number;
      readonly payload: Uint8Array;
      readonly mayEnd: boolean;
    }
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  | { readonly kind: "message"; readonly wsKind: number; readonly bytes: Uint8Array }
  /** The end of our direction, for when nothing that could carry the END flag is left. */
  | { readonly kind: "end" };

/** "empty": nothing waits. "more": something may go now. The others: what it waits for. */
export type PumpState = "empty" | "more" | "stream-credit" | "session-credit" | "message-full";

/** A WS_MSG is charged with its frame header too, so that empty messages are not free. */
const WS_FRAME_COST_BYTES = FRAME_HEADER_BYTES + FRAME_KIND_BYTES;
/** Gone items at the front of the list before it is cut. */
const GONE_ITEMS_MAX = 64;

/** One stream's outgoing frames in order, under credit. */
export class SendQueue {
  queuedBytes = 0;
  creditBytes: number;
  readonly #carrier: Carrier;
  /** Those in front of `#first` are gone. */
  #items: (Item | null)[] = [];
  #first = 0; // index of the first item that is left
  #offset = 0; // bytes of the first item that are gone
  #ending = false;

  constructor(creditBytes: number, carrier: Carrier) {
    this.creditBytes = creditBytes;
    this.#carrier = carrier;
  }

  get empty(): boolean {
    return this.#first === this.#items.length;
  }

  /** OPEN or HEADERS or TRAILERS or a WebSocket close. `mayEnd`: END may be set on it when nothing follows. */
  addFrame(type: number, flags: number, payload: Uint8Array, mayEnd: boolean): void {
    this.#items.push({ kind: "frame", type, flags, payload, mayEnd });
  }

  addData(bytes: Uint8Array): void {
    this.#items.push({ kind: "data", bytes });
    this.queuedBytes += bytes.length;
  }

  addMessage(wsKind: number, bytes: Uint8Array): void {
    this.#items.push({ kind: "message", wsKind, bytes });
    this.queuedBytes += bytes.length;
  }

  /** Nothing follows: END goes on the last frame that can carry it. */
  addEnd(): void {
    const tail = this.empty ? undefined : this.#items.at(-1);
    if (tail !== undefined && tail !== null && (tail.kind === "data" || (tail.kind === "frame" && tail.mayEnd)))
      this.#ending = true;
    else this.#items.push({ kind: "end" });
  }

  /** False when the sum would break the protocol's bound. */
  addCredit(bytes: number): boolean {
    if (this.creditBytes + bytes > CREDIT_BYTES_MAX) return false;
    this.creditBytes += bytes;
    return true;
  }

  clear(): void {
    this.#items = [];
    this.#first = 0;
    this.#offset = 0;
    this.queuedBytes = 0;
    this.#ending = false;
  }

  /** Moves what may go now into the message, at most `quantumBytes` of body. */
  pump(builder: MessageBuilder, streamId: number, quantumBytes: number): PumpState {
    let quantum = quantumBytes;
    for (;;) {
      const item = this.#items[this.#first];
      if (item === undefined || item === null) return "empty";
      const room = this.#carrier.peerMessageBytes - builder.bytes - FRAME_HEADER_BYTES;
      if (item.kind === "end") {
        builder.add(FRAME.data, FLAG.end, streamId, null);
        this.#shift();
      } else if (item.kind === "frame") {
        if (item.payload.length > room && builder.bytes > 0) return "message-full";
        builder.add(item.type, item.flags | (item.mayEnd ? this.#endFlag() : 0), streamId, item.payload);
        this.#shift();
      } else {
        const overhead = item.kind === "message" ? WS_FRAME_COST_BYTES : 0;
        const rest = item.bytes.length - this.#offset;
        const least = overhead + Math.min(1, rest);
        if (this.creditBytes < least) return "stream-credit";
        if (this.#carrier.creditBytes < least) return "session-credit";
        if (quantum <= 0) return "more";
        const most = Math.min(this.creditBytes, this.#carrier.creditBytes) - overhead;
        const bytes = Math.min(rest, quantum, most, room - FRAME_KIND_BYTES);
        if (bytes < Math.min(1, rest)) return "message-full";
        this.#addBytes(builder, streamId, item, bytes, bytes === rest);
        this.#spend(bytes, overhead);
        quantum -= bytes + overhead;
        if (bytes === rest) this.#shift();
        else this.#offset += bytes;
      }
    }
  }

  #addBytes(
    builder: MessageBuilder,
    streamId: number,
    item: Extract<Item, { bytes: Uint8Array }>,
    bytes: number,
    last: boolean,
  ): void {
    const whole = last && this.#offset === 0;
    const part = whole ? item.bytes : item.bytes.subarray(this.#offset, this.#offset + bytes);
    if (item.kind === "message") {
      builder.add(FRAME.wsMessage, last ? FLAG.fin : 0, streamId, part, item.wsKind);
      return;
    }
    const flags = last ? this.#endFlag() : 0;
    if (bytes > 0 || flags !== 0) builder.add(FRAME.data, flags, streamId, part);
  }

  #spend(bytes: number, overhead: number): void {
    this.creditBytes -= bytes + overhead;
    this.#carrier.creditBytes -= bytes + overhead;
    this.queuedBytes -= bytes;
  }

  /** END on this frame? Only with the last item, and then there is no item left to do it. */
  #endFlag(): number {
    if (!this.#ending || this.#first !== this.#items.length - 1) return 0;
    this.#ending = false;
    return FLAG.end;
  }

  #shift(): void {
    this.#items[this.#first] = null; // its bytes may be used again
    this.#first += 1;
    this.#offset = 0;
    if (this.#first === this.#items.length) {
      this.#items = [];
      this.#first = 0;
    } else if (this.#first > GONE_ITEMS_MAX && this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
  }
}

export const wsKindCode = (kind: "text" | "binary"): number => (kind === "text" ? WS_KIND.text : WS_KIND.binary);
