import { utf8Text } from "./control.ts";
import { FLAG, FRAME, FRAME_KIND_BYTES, readU16, WS_KIND } from "./frame.ts";
import type { Frame } from "./frame.ts";
import { decodeResponse, decodeTrailers, encodeResponse, encodeTrailers } from "./head.ts";
import { FRAME_HEADER_BYTES, WS_PARTS_CREDIT_BYTES } from "./limits.ts";
import type { MessageBuilder } from "./message-builder.ts";
import { encodeReset, MessageAssembly } from "./messages.ts";
import type { MessagePart } from "./messages.ts";
import type { WireResetReason } from "./reasons.ts";
import type { Sender } from "./scheduler.ts";
import { SendHalf } from "./send-half.ts";
import type { Carrier, PumpState } from "./send-queue.ts";
import type { ByteBudget, HeaderList, ResponseHead, Stream, StreamEvents, StreamOutcome } from "./types.ts";
import { StreamWindow } from "./window.ts";

/** What a stream needs of its session. */
export interface StreamPort {
  readonly role: "relay" | "connector";
  readonly carrier: Carrier;
  readonly streamQueueBytes: number;
  readonly wsMessageBytes: number;
  readonly budget: ByteBudget;
  now(): number;
  /** The stream has something to send, or credit for it. */
  ready(stream: StreamCore): void;
  /** The same, with a head in front: it goes before bodies of others. */
  fresh(stream: StreamCore): void;
  /** A frame that overtakes bodies. */
  control(type: number, streamId: number, payload: Uint8Array): void;
  /** Credit of the stream for the peer. */
  grant(stream: StreamCore, bytes: number): void;
  /** Bytes of session credit that the peer gets back. */
  consumed(bytes: number): void;
  /** The stream has ended: forget it. */
  ended(stream: StreamCore): void;
}

export interface StreamSetup {
  readonly id: number;
  readonly urgency: number;
  readonly upgrade: boolean;
  /** The peer's direction is over from the start (OPEN with END, seen by the connector). */
  readonly receiveEnded: boolean;
  readonly window: StreamWindow;
  readonly creditBytes: number;
}

/** Kind and code. */
const WS_CLOSE_BYTES_MIN = FRAME_KIND_BYTES + 2;

/** How a frame was taken: fine, or the session must fail. A rule that only this stream broke ends in a RESET of it. */
export type FrameVerdict = "ok" | "flow-control" | "malformed";

/**
 * One stream. Each direction is open or over; the stream finishes when both are. The relay's receiving direction waits for a head first.
 * An upgraded stream carries messages in both directions after the head with status 101.
 */
export class StreamCore implements Stream, Sender<StreamCore> {
  readonly id: number;
  readonly urgency: number;
  place: Sender<StreamCore>["place"] = "nowhere";
  before: StreamCore | null = null;
  after: StreamCore | null = null;
  closed = false;
  lastProgressMs: number;
  readonly #port: StreamPort;
  readonly #window: StreamWindow;
  readonly #sender: SendHalf;
  readonly #upgrade: boolean;
  #events: StreamEvents = {};
  #mode: "body" | "messages" = "body";
  /** "waiting": no final head yet. For the relay the one it receives, for the connector the one it sends. */
  #head: "waiting" | "done" = "waiting";
  #receiving: "open" | "over";
  #stopAfterEnd = false;
  #assembly: MessageAssembly | null = null;
  /** Credit that the parts of the message so far still hold. */
  #partsBytes = 0;
  #outcome: StreamOutcome | null = null;

  constructor(port: StreamPort, setup: StreamSetup) {
    this.#port = port;
    this.id = setup.id;
    this.urgency = setup.urgency;
    this.#upgrade = setup.upgrade;
    this.#window = setup.window;
    this.#sender = new SendHalf(setup.creditBytes, port, port.role === "connector");
    this.#receiving = setup.receiveEnded ? "over" : "open";
    this.lastProgressMs = port.now();
  }

  get writable(): number {
    return this.#sender.writable();
  }

  get heldBytes(): number {
    return this.#window.heldBytes;
  }

  get queuedBytes(): number {
    return this.#sender.queuedBytes;
  }

  // ---- what the host calls

  interim(head: ResponseHead): void {
    if (this.closed || this.#port.role !== "connector" || this.#head === "done") return;
    if (head.status < 100 || head.status > 199 || head.status === 101) return;
    this.#sendHead(head, false);
  }

  respond(head: ResponseHead, end: boolean): void {
    if (this.closed || this.#port.role !== "connector" || this.#head === "done") return;
    this.#head = "done";
    const switching = this.#upgrade && head.status === 101;
    if (switching) this.#mode = "messages";
    else if (this.#upgrade) this.#receiving = "over"; // the visitor's side sends nothing unless it was upgraded
    this.#sendHead(head, true);
    if (end && !switching) this.end();
  }

  write(bytes: Uint8Array): number {
    if (!this.#maySend("body")) return 0;
    if (bytes.length > 0) {
      this.#sender.addData(bytes);
      this.#port.ready(this);
    }
    return this.writable;
  }

  end(trailers: HeaderList = []): void {
    if (!this.#maySend("body")) return;
    const encoded = trailers.length > 0 ? encodeTrailers(trailers) : null;
    if (encoded !== null && !encoded.ok) return this.reset("protocol", encoded.error.text);
    this.#sender.end(encoded === null ? null : encoded.payload);
    this.#port.ready(this);
  }

  sendMessage(kind: "text" | "binary", data: Uint8Array): number {
    if (!this.#maySend("messages")) return 0;
    this.#sender.addMessage(kind, data);
    this.#port.ready(this);
    return this.writable;
  }

  sendMessageClose(code: number, reason: string): void {
    if (!this.#maySend("messages")) return;
    this.#sender.endMessages(code, reason);
    this.#port.ready(this);
  }

  consumed(bytes: number): void {
    const counted = this.#window.consume(bytes);
    if (counted === 0) return;
    this.lastProgressMs = this.#port.now();
    this.#port.consumed(counted);
    this.#grant();
  }

  stopReceiving(): void {
    const { state } = this.#sender;
    if (this.closed || this.#port.role !== "connector" || state === "open" || this.#receiving === "over") return;
    this.#stopAfterEnd = true;
    if (state === "over") this.#stop();
  }

  reset(reason: WireResetReason, text: string): void {
    if (this.closed) return this.consumed(this.heldBytes);
    if (this.#sender.isKnown) this.#port.control(FRAME.reset, this.id, encodeReset(reason, text));
    this.close({ kind: "reset", by: "local", reason, text });
  }

  // ---- what the session calls

  /** A host may have reset it before it said who listens. */
  attach(events: StreamEvents): void {
    this.#events = events;
    if (this.#outcome !== null) events.closed?.(this.#outcome);
  }

  /** The relay's OPEN, first in the queue. */
  addOpen(flags: number, payload: Uint8Array): void {
    this.#sender.addOpen(flags, payload);
    this.#port.fresh(this);
  }

  pump(builder: MessageBuilder, quantumBytes: number): PumpState {
    this.lastProgressMs = this.#port.now();
    return this.#sender.pump(builder, this.id, quantumBytes);
  }

  /** After a message was built: what the host may be told now. Events run here, never while a message is being put together. */
  afterPump(): void {
    if (this.closed) return;
    if (this.#sender.afterPump()) {
      if (this.#stopAfterEnd) this.#stop();
      else this.#finishWhenOver();
    }
    if (this.#sender.tellsWritable()) this.#events.writable?.();
  }

  headers(frame: Frame): FrameVerdict {
    if (this.#port.role !== "relay" || this.#head === "done") return this.#breach("a head out of place");
    const decoded = decodeResponse(frame.payload);
    if (!decoded.ok) return decoded.error.reason === "malformed" ? "malformed" : this.#breach(decoded.error.text);
    const head = decoded.value;
    const ends = (frame.flags & FLAG.end) !== 0;
    const switching = head.status === 101;
    if (switching && (!this.#upgrade || ends)) return this.#breach("status 101 without an upgrade");
    if (head.status < 200 && !switching) {
      if (ends) return this.#breach("an interim head that ends");
      this.#events.head?.(head);
      return "ok";
    }
    this.#head = "done";
    if (switching) this.#mode = "messages";
    else if (this.#upgrade) this.#sender.abandon();
    this.#events.head?.(head);
    if (ends) this.#receiveEnd([]);
    return "ok";
  }

  data(frame: Frame): FrameVerdict {
    const { payload } = frame;
    if (!this.#window.take(payload.length)) {
      if (this.#receiving !== "over") return "flow-control";
      this.#port.consumed(payload.length);
    }
    const ends = (frame.flags & FLAG.end) !== 0;
    if (!this.#mayReceiveBody() || (payload.length === 0 && !ends)) return this.#breach("body bytes out of place");
    if (payload.length > 0) this.#events.data?.(payload);
    if (ends && !this.closed) this.#receiveEnd([]);
    return "ok";
  }

  trailers(frame: Frame): FrameVerdict {
    if (!this.#mayReceiveBody()) return this.#breach("trailers out of place");
    const decoded = decodeTrailers(frame.payload);
    if (!decoded.ok) return decoded.error.reason === "malformed" ? "malformed" : this.#breach(decoded.error.text);
    this.#receiveEnd(decoded.value);
    return "ok";
  }

  wsMessage(frame: Frame): FrameVerdict {
    const { payload } = frame;
    const kind = payload[0];
    if (kind === WS_KIND.close) {
      const fin = (frame.flags & FLAG.fin) !== 0;
      if (!this.#mayReceiveMessage() || !fin || payload.length < WS_CLOSE_BYTES_MIN)
        return this.#breach("a close out of place");
      this.#receiving = "over";
      this.#window.close();
      this.#events.messageClose?.(readU16(payload, 1), utf8Text(payload.subarray(3)));
      this.#finishWhenOver();
      return "ok";
    }
    const cost = FRAME_HEADER_BYTES + payload.length;
    if (!this.#window.take(cost)) {
      if (this.#receiving !== "over") return "flow-control";
      this.#port.consumed(cost);
    }
    if (!this.#mayReceiveMessage()) return this.#breach("a message out of place");
    this.#assembly ??= new MessageAssembly(this.#port.wsMessageBytes, this.#port.budget);
    return this.#messagePart(this.#assembly.add(frame), cost);
  }

  /** WINDOW from the peer. */
  credit(bytes: number): FrameVerdict {
    if (!this.#sender.addCredit(bytes)) return "flow-control";
    if (!this.#sender.empty) this.#port.ready(this);
    if (this.#sender.tellsWritable()) this.#events.writable?.();
    return "ok";
  }

  /** STOP from the peer: it has answered and wants no more of our body. */
  stopped(): void {
    this.#sender.abandon();
    this.#finishWhenOver();
  }

  /** The end of the stream, once. Held bytes of a reset stream count as consumed: its host drops them. */
  close(outcome: StreamOutcome): void {
    if (this.closed) return;
    this.closed = true;
    this.#outcome = outcome;
    this.#sender.abandon();
    this.#assembly?.clear();
    this.#window.close();
    // Of a message that will never be whole.
    this.#port.consumed(this.#window.consume(this.#partsBytes));
    if (outcome.kind === "reset") this.#port.consumed(this.#window.consume(Number.MAX_SAFE_INTEGER));
    this.#port.ended(this);
    this.#events.closed?.(outcome);
  }

  // ---- inside

  #sendHead(head: ResponseHead, final: boolean): void {
    const encoded = encodeResponse(head);
    if (!encoded.ok) return this.reset("protocol", encoded.error.text);
    this.#sender.addHead(encoded.payload, final && this.#mode === "body");
    this.#port.fresh(this);
  }

  #maySend(mode: "body" | "messages"): boolean {
    if (this.closed || this.#sender.state !== "open" || this.#mode !== mode) return false;
    if (mode === "messages") return true;
    return this.#port.role === "connector" ? this.#head === "done" : !this.#upgrade;
  }

  #mayReceiveBody(): boolean {
    if (this.#receiving === "over" || this.#mode !== "body") return false;
    return this.#port.role === "relay" ? this.#head === "done" : !this.#upgrade;
  }

  #mayReceiveMessage(): boolean {
    return this.#receiving === "open" && this.#mode === "messages";
  }

  #messagePart(part: MessagePart, cost: number): FrameVerdict {
    if (part.kind === "out-of-place") return this.#breach("a message out of place");
    if (part.kind === "too-long") {
      this.reset("body-too-large", "a WebSocket message is longer than this side puts together");
      return "ok";
    }
    const creditBytes = this.#partsBytes + cost;
    this.#partsBytes = part.kind === "whole" ? 0 : creditBytes;
    if (part.kind === "whole") this.#events.message?.({ ...part.message, creditBytes });
    else if (this.#window.creditBytes < WS_PARTS_CREDIT_BYTES) this.#makeRoomForParts();
    return "ok";
  }

  /** A message that is longer than the window: the rest could not come unless its parts give their credit back before it is whole. */
  #makeRoomForParts(): void {
    if (this.#assembly?.charge(this.#partsBytes) !== true) {
      return this.reset("overload", "there is no memory for so long a WebSocket message");
    }
    this.consumed(this.#partsBytes);
    this.#partsBytes = 0;
  }

  #receiveEnd(trailers: HeaderList): void {
    this.#receiving = "over";
    this.#window.close();
    this.#events.end?.(trailers);
    this.#finishWhenOver();
  }

  #finishWhenOver(): void {
    if (this.#receiving === "over" && this.#sender.state === "over") this.close({ kind: "finished" });
  }

  #stop(): void {
    this.#port.control(FRAME.stop, this.id, new Uint8Array(0));
    this.#receiving = "over";
    // What the host still holds of the rest is not wanted either.
    this.#window.close();
    this.#port.consumed(this.#window.consume(Number.MAX_SAFE_INTEGER));
    this.#finishWhenOver();
  }

  #grant(): void {
    if (this.closed || this.#receiving === "over") return;
    const bytes = this.#window.grant();
    if (bytes > 0) this.#port.grant(this, bytes);
  }

  #breach(text: string): FrameVerdict {
    this.reset("protocol", text);
    return "ok";
  }
}
