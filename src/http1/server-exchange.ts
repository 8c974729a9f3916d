import { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { answerHead, type Framing, interimHead, lastChunk } from "./answer-head.ts";
import type { CheckedRequest } from "./request-checks.ts";
import type { Exchange, ExchangeEvents, ExchangeOutcome, HeaderList, RequestHead, TakenSocket } from "./types.ts";

/** What an exchange wants of its connection. */
export interface ExchangeHost {
  readonly socket: Socket;
  /** False once the connection is to end after this answer. */
  readonly keepAlive: boolean;
  /** Of the request's body, whether it can be read to its end cheaply after the answer. */
  restIsSmall(): boolean;
  /** The whole answer was given to the socket. */
  answered(keepAlive: boolean): void;
  /** And by the socket to the system. */
  flushed(): void;
  /** Bytes wait in the socket: watch that the client takes them. */
  stalled(): void;
  readingChanged(): void;
  cut(): void;
  take(): Buffer | null;
}

type AnswerState = "none" | "open" | "complete";

/** Small pieces are copied behind their chunk size: one buffer is cheaper than three. */
const COPY_BYTES = 4096;

export class ServerExchange implements Exchange {
  readonly request: RequestHead;
  readonly remoteAddress: string | null;
  closed = false;
  paused = false;
  expectsContinue: boolean;
  events: ExchangeEvents = {};
  answer: AnswerState = "none";
  readonly #host: ExchangeHost;
  #framing: Framing = { kind: "none" };
  #keepAlive = true;
  #left = 0;
  #corked = false;
  /** Writes that the system has not taken. */
  #writes = 0;
  readonly #written = (error?: Error | null): void => {
    this.#writes -= 1;
    if (this.#writes === 0 && this.answer === "complete" && (error === null || error === undefined)) {
      this.#host.flushed();
    }
  };

  constructor(host: ExchangeHost, { head, expectsContinue, keepAlive }: CheckedRequest, remoteAddress: string | null) {
    this.#host = host;
    this.request = head;
    this.expectsContinue = expectsContinue;
    this.#keepAlive = keepAlive;
    this.remoteAddress = remoteAddress;
  }

  get encrypted(): boolean {
    return this.#host.socket instanceof TLSSocket;
  }

  get unsentBytes(): number {
    return this.closed ? 0 : this.#host.socket.writableLength;
  }

  interim(status: number, headers: HeaderList): boolean {
    if (this.closed || this.answer !== "none") return true;
    const text = interimHead(status, headers);
    if (text === null) return false;
    if (status === 100) this.expectsContinue = false;
    if (this.request.version === "1.1") this.#host.socket.write(text, "latin1");
    return true;
  }

  respond(status: number, headers: HeaderList, body: Uint8Array | string | null): boolean {
    if (this.closed || this.answer !== "none") return true;
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    const head = this.#answerHead(status, headers, bytes?.length ?? 0);
    if (head === null) return false;
    const { socket } = this.#host;
    if (bytes === null || bytes.length === 0 || this.#framing.kind === "none") this.#send(head);
    else if (bytes.length <= COPY_BYTES) this.#send(joined(head, bytes, ""));
    else {
      socket.cork();
      socket.write(head, "latin1");
      this.#send(bytes);
      socket.uncork();
    }
    this.#complete();
    return true;
  }

  head(status: number, headers: HeaderList): boolean {
    if (this.closed || this.answer !== "none") return true;
    const head = this.#answerHead(status, headers, null);
    if (head === null) return false;
    this.answer = "open";
    this.#cork();
    this.#send(head);
    return true;
  }

  write(bytes: Uint8Array): boolean {
    if (this.closed || this.answer !== "open") return true;
    const { socket } = this.#host;
    const { length } = bytes;
    if (length === 0 || this.#framing.kind === "none") return !socket.writableNeedDrain;
    let room: boolean;
    if (this.#framing.kind === "chunked") {
      const size = `${length.toString(16)}\r\n`;
      if (length <= COPY_BYTES) room = this.#send(joined(size, bytes, "\r\n"));
      else {
        this.#cork();
        socket.write(size, "latin1");
        socket.write(bytes);
        room = this.#send("\r\n");
      }
    } else {
      if (this.#framing.kind === "length") {
        this.#left -= length;
        if (this.#left < 0) {
          this.#host.cut();
          return true;
        }
      }
      room = this.#send(bytes);
    }
    if (!room) this.#host.stalled();
    return room;
  }

  end(trailers: HeaderList = []): void {
    if (this.closed || this.answer !== "open") return;
    if (this.#left > 0) return this.#host.cut();
    if (this.#framing.kind === "chunked") this.#send(lastChunk(trailers));
    this.#complete();
  }

  pause(): void {
    this.paused = true;
    this.#host.readingChanged();
  }

  resume(): void {
    this.paused = false;
    this.#host.readingChanged();
  }

  abort(): void {
    if (!this.closed) this.#host.cut();
  }

  takeSocket(): TakenSocket | null {
    if (this.closed || this.answer !== "none" || this.request.upgrade === null) return null;
    const head = this.#host.take();
    if (head === null) return null;
    const { socket } = this.#host;
    return { message: messageFor(this.request, socket), socket, head };
  }

  /** The last event. */
  close(outcome: ExchangeOutcome): void {
    if (this.closed) return;
    this.closed = true;
    this.events.closed?.(outcome);
  }

  #answerHead(status: number, headers: HeaderList, wholeBytes: number | null): string | null {
    const host = this.#host;
    const { method, version } = this.request;
    // A client that still waits for 100 may send its body or not: only a new connection is clear about what follows.
    const keepAlive =
      this.#keepAlive && host.keepAlive && !this.expectsContinue && (wholeBytes === null || host.restIsSmall());
    const answer = answerHead(status, headers, { method, version, keepAlive, wholeBytes });
    if (answer === null) return null;
    this.#framing = answer.framing;
    this.#keepAlive = answer.keepAlive;
    this.#left = answer.framing.kind === "length" && wholeBytes === null ? answer.framing.bytes : 0;
    return answer.text;
  }

  #send(piece: string | Uint8Array): boolean {
    this.#writes += 1;
    const { socket } = this.#host;
    return typeof piece === "string"
      ? socket.write(piece, "latin1", this.#written)
      : socket.write(piece, this.#written);
  }

  /** All writes of this turn become one system call. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#host.socket.cork();
    process.nextTick(uncork, this);
  }

  uncork(): void {
    this.#corked = false;
    this.#host.socket.uncork();
  }

  #complete(): void {
    this.answer = "complete";
    this.#host.answered(this.#keepAlive);
    // Its last write was taken before it knew that it is the last.
    if (this.#writes === 0) process.nextTick(flushed, this.#host);
  }
}

const flushed = (host: ExchangeHost): void => host.flushed();
const uncork = (exchange: ServerExchange): void => exchange.uncork();

function joined(before: string, bytes: Uint8Array, after: string): Buffer {
  const buffer = Buffer.allocUnsafe(before.length + bytes.length + after.length);
  buffer.write(before, 0, "latin1");
  buffer.set(bytes, before.length);
  if (after !== "") buffer.write(after, before.length + bytes.length, "latin1");
  return buffer;
}

/** For `ws`: method, url and headers by lower-case name (lists joined). */
function messageFor(request: RequestHead, socket: Socket): IncomingMessage {
  const headers: Record<string, string> = {};
  for (const [name, value] of request.headers) {
    const key = name.toLowerCase();
    const before = headers[key];
    headers[key] = before === undefined ? value : `${before}, ${value}`;
  }
  const message = new IncomingMessage(socket);
  return Object.assign(message, { method: request.method, url: request.path, headers, httpVersion: request.version });
}
