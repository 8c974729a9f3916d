import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { answerHead, type Framing, interimHead } from "./answer-head.ts";
import { cutSocket } from "./cut-socket.ts";
import { isFieldValue, kindOf } from "./fields.ts";
import type { CheckedRequest } from "./request-checks.ts";
import type { Exchange, ExchangeEvents, ExchangeOutcome, HeaderList, RequestHead, TakenSocket } from "./types.ts";

export interface NodeExchangeHost {
  /** Whether connections may be kept. */
  readonly keepAlive: boolean;
  readonly drainBytes: number;
  readonly bodyIdleMs: number;
  readonly writeIdleMs: number;
  readonly now: () => number;
}

/** An exchange on node:http's request and response. */
export class NodeExchange implements Exchange {
  readonly request: RequestHead;
  readonly remoteAddress: string | null;
  closed = false;
  /** When the body must have gone on; 0: it need not. */
  deadlineMs = 0;
  goneReason: Extract<ExchangeOutcome, { kind: "gone" }>["reason"] = "client-closed";
  #events: ExchangeEvents = {};
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #host: NodeExchangeHost;
  /** Of an upgrade: what came after its head. */
  readonly #rest: Buffer | null;
  readonly #socket: Duplex;
  readonly #finished: (outcome: ExchangeOutcome) => void;
  #expectsContinue: boolean;
  #framing: Framing = { kind: "none" };
  #left = 0;
  #cut = false;
  #received = 0;

  constructor(
    message: { req: IncomingMessage; res: ServerResponse; rest: Buffer | null },
    checked: CheckedRequest,
    host: NodeExchangeHost,
    finished: (outcome: ExchangeOutcome) => void,
  ) {
    this.request = checked.head;
    this.#expectsContinue = checked.expectsContinue;
    this.#req = message.req;
    this.#res = message.res;
    this.#rest = message.rest;
    this.#socket = message.req.socket;
    this.remoteAddress = message.req.socket.remoteAddress ?? null;
    this.#host = host;
    this.#finished = finished;
  }

  get encrypted(): boolean {
    return this.#socket instanceof TLSSocket;
  }

  get unanswered(): boolean {
    return !this.#res.headersSent;
  }

  get unsentBytes(): number {
    return this.closed ? 0 : this.#res.writableLength + this.#socket.writableLength;
  }

  /** Hands the exchange to the host and its events to the handlers that come back. */
  run(onRequest: (exchange: Exchange) => ExchangeEvents): void {
    const res = this.#res;
    res.on("close", () => {
      this.#end(res.writableFinished && !this.#cut ? { kind: "finished" } : { kind: "gone", reason: this.goneReason });
    });
    res.on("error", () => undefined); // "close" follows
    res.on("drain", () => {
      this.#req.socket.setTimeout(0);
      if (!this.closed && !res.writableEnded) this.#events.writable?.();
    });
    this.#events = onRequest(this);
    if (this.closed) return;
    if (this.#expectsContinue && !res.headersSent) {
      res.writeContinue();
      this.#expectsContinue = false;
    }
    if (this.request.body === "none" || this.#res.writableEnded) return;
    this.#within();
    this.#req.on("data", (bytes: Buffer) => {
      this.#received += bytes.length;
      this.#within();
      if (this.closed || res.writableEnded) return this.#drained();
      this.#events.data?.(bytes);
    });
    this.#req.on("end", () => {
      this.deadlineMs = 0;
      if (!this.closed && !res.writableEnded && this.#req.complete) this.#events.end?.(pairs(this.#req.rawTrailers));
    });
    this.#req.on("error", () => undefined); // "close" of the response follows
  }

  interim(status: number, headers: HeaderList): boolean {
    if (this.closed || this.#res.headersSent) return true;
    const text = interimHead(status, headers);
    if (text === null) return false;
    if (status === 100) this.#expectsContinue = false;
    if (this.request.version === "1.1" && this.#res.socket !== null) this.#res.socket.write(text, "latin1");
    return true;
  }

  respond(status: number, headers: HeaderList, body: Uint8Array | string | null): boolean {
    if (this.closed || this.#res.headersSent) return true;
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    if (!this.#writeHead(status, headers, bytes?.length ?? 0)) return false;
    if (bytes === null || this.#framing.kind === "none") this.#res.end();
    else this.#res.end(bytes);
    return true;
  }

  head(status: number, headers: HeaderList): boolean {
    if (this.closed || this.#res.headersSent) return true;
    if (!this.#writeHead(status, headers, null)) return false;
    this.#res.flushHeaders();
    return true;
  }

  write(bytes: Uint8Array): boolean {
    if (this.closed || this.#res.writableEnded || bytes.length === 0 || this.#framing.kind === "none") return true;
    if (this.#framing.kind === "length") {
      this.#left -= bytes.length;
      if (this.#left < 0) {
        this.abort();
        return true;
      }
    }
    const room = this.#res.write(bytes);
    if (!room) this.#req.socket.setTimeout(this.#host.writeIdleMs);
    return room;
  }

  end(trailers: HeaderList = []): void {
    if (this.closed || this.#cut || this.#res.writableEnded) return;
    if (this.#left > 0) return this.abort();
    const sendable = trailers.filter(([name, value]) => kindOf(name) === "plain" && isFieldValue(value));
    if (this.#framing.kind === "chunked" && sendable.length > 0) {
      this.#res.addTrailers(sendable.map(([name, value]): [string, string] => [name, value]));
    }
    this.#res.end();
  }

  pause(): void {
    this.deadlineMs = 0;
    this.#req.pause();
  }

  resume(): void {
    this.#within();
    this.#req.resume();
  }

  abort(): void {
    this.cut("aborted");
  }

  cut(reason: typeof this.goneReason): void {
    if (this.closed || this.#cut) return;
    this.#cut = true;
    this.goneReason = reason;
    cutSocket(this.#req.socket);
  }

  takeSocket(): TakenSocket | null {
    if (this.closed || this.#res.headersSent || this.request.upgrade === null || this.#rest === null) return null;
    this.#res.detachSocket(this.#req.socket);
    process.nextTick(() => this.#end({ kind: "gone", reason: "taken" }));
    return { message: this.#req, socket: this.#socket, head: this.#rest };
  }

  #writeHead(status: number, headers: HeaderList, wholeBytes: number | null): boolean {
    const { method, version, body, bodyBytes } = this.request;
    const unread = body !== "none" && !this.#req.complete;
    const tooMuch = unread && (bodyBytes === null || bodyBytes - this.#received > this.#host.drainBytes);
    const keepAlive =
      this.#res.shouldKeepAlive &&
      this.#host.keepAlive &&
      !this.#expectsContinue &&
      !(wholeBytes !== null && tooMuch) &&
      this.#rest === null;
    const answer = answerHead(status, headers, { method, version, keepAlive, wholeBytes });
    if (answer === null) return false;
    this.#framing = answer.framing;
    this.#left = answer.framing.kind === "length" && wholeBytes === null ? answer.framing.bytes : 0;
    const flat: string[] = [];
    for (const [name, value] of headers) {
      const kind = kindOf(name);
      if (kind !== "owned" && kind !== "length") flat.push(name, value);
    }
    const length = /\r\nContent-Length: ([0-9]+)\r\n/.exec(answer.text)?.[1];
    if (length !== undefined) flat.push("Content-Length", length);
    if (!answer.keepAlive) {
      this.#res.shouldKeepAlive = false;
      flat.push("Connection", "close");
    }
    this.#res.writeHead(status, flat);
    return true;
  }

  /** After an early answer: the rest is read and thrown away, up to a limit. */
  #drained(): void {
    if (this.#received > this.#host.drainBytes) this.#req.socket.destroySoon();
  }

  #within(): void {
    this.deadlineMs = this.#host.now() + this.#host.bodyIdleMs;
  }

  #end(outcome: ExchangeOutcome): void {
    if (this.closed) return;
    this.closed = true;
    this.deadlineMs = 0;
    this.#finished(outcome);
    this.#events.closed?.(outcome);
  }
}

export function pairs(raw: readonly string[]): HeaderList {
  const list: (readonly [string, string])[] = [];
  for (let i = 0; i < raw.length; i += 2) list.push([raw[i] ?? "", raw[i + 1] ?? ""]);
  return list;
}
