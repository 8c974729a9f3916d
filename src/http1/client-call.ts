import { lastChunk } from "./answer-head.ts";
import { failure } from "./client-errors.ts";
import type { ClientCall, ClientFailure, ClientHandler, ClientRequest } from "./client-types.ts";
import type { HeaderList } from "./types.ts";

/** The connection that a call is on, as the call sees it. */
export interface CallCarrier {
  /** False: stop until the call's `drained`. */
  send(before: string, bytes: Uint8Array, after: string, taken: () => void): boolean;
  sendText(text: string): void;
  bodyComplete(): void;
  readingChanged(): void;
  /** The call is over without an end: the connection can't be used again. */
  drop(): void;
}

/** Methods that may be sent twice (RFC 9110, section 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** One request, from `dispatch` to its end, on whichever connection it gets. */
export class Call implements ClientCall {
  readonly request: ClientRequest;
  readonly handler: ClientHandler;
  /** The request's head as text. */
  readonly head: string;
  closed = false;
  paused = false;
  bodyComplete: boolean;
  /** A second connection was tried already. */
  retried = false;
  #carrier: CallCarrier | null = null;
  readonly #unsentMax: number;
  readonly #abandon: (call: Call) => void;
  /** What was written before there was a connection. */
  #early: Uint8Array[] = [];
  #earlyBytes = 0;
  #earlyTrailers: HeaderList = [];
  #left: number;
  #waitsForRoom = false;

  /** `abandon`: it is on no connection and waits for none any more. */
  constructor(
    request: ClientRequest,
    handler: ClientHandler,
    head: string,
    unsentMax: number,
    abandon: (call: Call) => void,
  ) {
    this.request = request;
    this.handler = handler;
    this.head = head;
    this.bodyComplete = request.body === "none" || typeof request.body === "object" || request.body === 0;
    this.#left = typeof request.body === "number" ? request.body : 0;
    this.#unsentMax = unsentMax;
    this.#abandon = abandon;
  }

  /** Nothing of its body is gone for good, and sending it twice does what once does. */
  get repeatable(): boolean {
    const { body, method } = this.request;
    return !this.retried && (body === "none" || typeof body === "object") && IDEMPOTENT.has(method);
  }

  write(bytes: Uint8Array): boolean {
    if (this.closed || this.bodyComplete || bytes.length === 0) return true;
    if (this.request.body !== "chunked") {
      if (bytes.length > this.#left) {
        this.#mismatch("the body is longer than it was announced");
        return true;
      }
      this.#left -= bytes.length;
    }
    if (this.#carrier !== null) return this.#send(this.#carrier, bytes);
    this.#early.push(bytes);
    this.#earlyBytes += bytes.length;
    this.#waitsForRoom = this.#earlyBytes >= this.#unsentMax;
    return !this.#waitsForRoom;
  }

  end(trailers: HeaderList = []): void {
    if (this.closed || this.bodyComplete) return;
    if (this.#left > 0) return this.#mismatch("the body is shorter than it was announced");
    this.bodyComplete = true;
    if (this.#carrier === null) this.#earlyTrailers = trailers;
    else this.#sendEnd(this.#carrier, trailers);
  }

  pause(): void {
    this.paused = true;
    this.#carrier?.readingChanged();
  }

  resume(): void {
    this.paused = false;
    this.#carrier?.readingChanged();
  }

  abort(): void {
    if (this.closed) return;
    this.closed = true;
    this.#leave();
  }

  // ---- for the connection and the pool

  /** The head is sent; now the body. */
  startedOn(carrier: CallCarrier): void {
    this.#carrier = carrier;
    const waited = this.#waitsForRoom;
    let room = true;
    for (const bytes of this.#early) room = this.#send(carrier, bytes);
    this.#early = [];
    if (this.bodyComplete && this.request.body === "chunked") this.#sendEnd(carrier, this.#earlyTrailers);
    else if (this.bodyComplete) carrier.bodyComplete();
    if (waited && room) process.nextTick(() => this.drained());
  }

  /** The connection ended before an answer began; the call goes to another one. */
  detach(): void {
    this.#carrier = null;
  }

  drained(): void {
    if (this.closed || !this.#waitsForRoom) return;
    this.#waitsForRoom = false;
    this.handler.writable?.();
  }

  finish(trailers: HeaderList): void {
    if (this.closed) return;
    this.closed = true;
    this.#carrier = null;
    this.handler.end(trailers);
  }

  fail(reason: ClientFailure): void {
    if (this.closed) return;
    this.closed = true;
    this.#carrier = null;
    this.handler.failed(reason);
  }

  failSoon(reason: ClientFailure): void {
    process.nextTick(() => this.fail(reason));
  }

  #send(carrier: CallCarrier, bytes: Uint8Array): boolean {
    const chunked = this.request.body === "chunked";
    const { length } = bytes;
    const taken = () => {
      if (!this.closed) this.handler.sent?.(length);
    };
    const room = carrier.send(chunked ? `${length.toString(16)}\r\n` : "", bytes, chunked ? "\r\n" : "", taken);
    if (!room) this.#waitsForRoom = true;
    return room;
  }

  #sendEnd(carrier: CallCarrier, trailers: HeaderList): void {
    if (this.request.body === "chunked") carrier.sendText(lastChunk(trailers));
    carrier.bodyComplete();
  }

  #mismatch(message: string): void {
    this.bodyComplete = true;
    const sent = this.#carrier !== null;
    this.#leave();
    this.failSoon(failure("body-mismatch", "length", message, sent));
  }

  #leave(): void {
    const carrier = this.#carrier;
    this.#carrier = null;
    this.#early = [];
    if (carrier === null) this.#abandon(this);
    else carrier.drop();
  }
}
