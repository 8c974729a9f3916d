import { FLAG, FRAME } from "./frame.ts";
import type { MessageBuilder } from "./message-builder.ts";
import { encodeMessageClose } from "./messages.ts";
import { SendQueue, wsKindCode } from "./send-queue.ts";
import type { Carrier, PumpState } from "./send-queue.ts";

/**
 * A queue is filled again when half of it, less this, is left: the shortest, which streams in a crowd have, when it is empty. Others keep the
 * socket busy then, and one that stands still holds one read of its host and not two.
 */
const REFILL_SPARE_BYTES = 16 * 1024;

/** A stream's sending direction: what waits in it, how far it is, and when the host may write again. */
export class SendHalf {
  /** "ending": the host has ended it, not all of it has left. */
  state: "open" | "ending" | "over" = "open";
  /** Whether the peer has heard of the stream: not before its OPEN has left. */
  isKnown: boolean;
  readonly #queue: SendQueue;
  readonly #port: { readonly streamQueueBytes: number };
  #wantsWritable = false;

  /** `port.streamQueueBytes`: what it may queue, which may change. */
  constructor(
    creditBytes: number,
    port: { readonly carrier: Carrier; readonly streamQueueBytes: number },
    isKnown: boolean,
  ) {
    this.#queue = new SendQueue(creditBytes, port.carrier);
    this.#port = port;
    this.isKnown = isKnown;
  }

  get queuedBytes(): number {
    return this.#queue.queuedBytes;
  }

  get empty(): boolean {
    return this.#queue.empty;
  }

  /** What should be written now. At 0 or less the host is told later (`tellsWritable`). */
  writable(): number {
    const room = this.#room();
    if (room <= 0) this.#wantsWritable = true;
    return room;
  }

  /** True when the host waits for room and there is enough of it: not for every few bytes. */
  tellsWritable(): boolean {
    if (!this.#wantsWritable || this.#room() <= 0) return false;
    if (this.#queue.queuedBytes > Math.max(0, this.#port.streamQueueBytes / 2 - REFILL_SPARE_BYTES)) return false;
    this.#wantsWritable = false;
    return true;
  }

  addHead(payload: Uint8Array, mayEnd: boolean): void {
    this.#queue.addFrame(FRAME.headers, 0, payload, mayEnd);
  }

  addOpen(flags: number, payload: Uint8Array): void {
    this.#queue.addFrame(FRAME.open, flags & ~FLAG.end, payload, true);
    if ((flags & FLAG.end) !== 0) this.end(null);
  }

  addData(bytes: Uint8Array): void {
    this.#queue.addData(bytes);
  }

  addMessage(kind: "text" | "binary", data: Uint8Array): void {
    this.#queue.addMessage(wsKindCode(kind), data);
  }

  /** `trailers`: their payload. */
  end(trailers: Uint8Array | null): void {
    this.state = "ending";
    if (trailers === null) this.#queue.addEnd();
    else this.#queue.addFrame(FRAME.trailers, 0, trailers, false);
  }

  endMessages(code: number, reason: string): void {
    this.state = "ending";
    this.#queue.addFrame(FRAME.wsMessage, FLAG.fin, encodeMessageClose(code, reason), false);
  }

  pump(builder: MessageBuilder, streamId: number, quantumBytes: number): PumpState {
    const before = builder.bytes;
    const left = this.#queue.pump(builder, streamId, quantumBytes);
    if (builder.bytes > before) this.isKnown = true;
    return left;
  }

  /** After a message was built. True when the direction is over with it. */
  afterPump(): boolean {
    if (this.state !== "ending" || !this.#queue.empty) return false;
    this.state = "over";
    return true;
  }

  /** False when the sum would break the protocol's bound. */
  addCredit(bytes: number): boolean {
    return this.#queue.addCredit(bytes);
  }

  /** Over, whatever is queued. */
  abandon(): void {
    this.#queue.clear();
    this.state = "over";
  }

  #room(): number {
    if (this.state !== "open") return 0;
    return Math.min(this.#port.streamQueueBytes, this.#queue.creditBytes) - this.#queue.queuedBytes;
  }
}
