import { connect as connectNet, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { checkAnswer } from "./answer-checks.ts";
import type { Call, CallCarrier } from "./client-call.ts";
import { connectFailure, failure } from "./client-errors.ts";
import type { ClientFailureKind, OriginClientOptions } from "./client-types.ts";
import { ADDRESS_TIMEOUT_MS, type ClientLimits, type ClientTimeouts } from "./limits.ts";
import { createResponseParser, type Parser } from "./parser.ts";
import { readBuffer } from "./read-buffer.ts";
import type { HeaderList } from "./types.ts";

export interface ClientConnectionHost {
  readonly options: OriginClientOptions;
  readonly limits: ClientLimits;
  readonly timeouts: ClientTimeouts;
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** It may be used again for `keepMs`. */
  idle(connection: ClientConnection, keepMs: number): void;
  /** A kept connection had died before the request reached the origin's program: send it again on a new one. */
  retry(call: Call): void;
  gone(connection: ClientConnection): void;
}

/** "connecting"; "idle": no call; "call": one is sent or answered; "over": destroyed or handed over. */
type State = "connecting" | "idle" | "call" | "over";

/** Small bodies are copied behind the head: one buffer is one system call. */
const COPY_BYTES = 4096;

export class ClientConnection implements CallCarrier {
  readonly socket: Socket;
  /** While idle: when it is closed. While connecting or waiting for an answer: when that fails. 0: never. */
  deadlineMs: number;
  readonly #host: ClientConnectionHost;
  readonly #parser: Parser;
  #state: State = "connecting";
  #call: Call | null;
  #reused = false;
  #tcpDone = false;
  /** Bytes of an answer to the current call have come. */
  #heard = false;
  #answered = false;
  #interims = 0;
  #keepMs = 0;
  #bodySent = false;
  #corked = false;
  #error: NodeJS.ErrnoException | null = null;

  constructor(call: Call, host: ClientConnectionHost) {
    this.#host = host;
    this.#call = call;
    const { limits, timeouts } = host;
    this.#parser = createResponseParser({ ...limits, targetBytes: 0 });
    this.deadlineMs = host.now() + timeouts.connectMs;
    this.socket = this.#open(call.request.upgrade !== undefined);
    this.socket.setNoDelay(true);
    this.socket.on("drain", this.#onDrain);
    this.socket.on("end", this.#onEnd);
    this.socket.on("error", this.#onError);
    this.socket.on("close", this.#onClose);
  }

  get busy(): boolean {
    return this.#state === "connecting" || this.#state === "call";
  }

  connectsFor(call: Call): boolean {
    return this.#state === "connecting" && this.#call === call;
  }

  /** Of an idle connection: sends the call. */
  start(call: Call): void {
    this.#reused = true;
    this.#begin(call);
  }

  sweep(now: number): void {
    if (this.deadlineMs === 0 || now < this.deadlineMs) return;
    switch (this.#state) {
      case "connecting":
        return this.#fail("connect-timeout", "timeout", "no connection in time", false);
      case "idle":
        return this.destroy();
      case "call":
        if (this.#answered) this.#fail("body-timeout", "timeout", "the answer's body did not go on in time");
        else this.#fail("head-timeout", "timeout", "no answer in time");
        return;
      case "over":
        return;
    }
  }

  destroy(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#call = null;
    this.#parser.free();
    this.socket.destroy();
    this.#host.gone(this);
  }

  /** The client is closed. */
  close(): void {
    this.#fail("closed", "closed", "the client was closed");
  }

  // ---- the call's side

  send(before: string, bytes: Uint8Array, after: string, taken: () => void): boolean {
    const { socket } = this;
    this.#cork();
    const done = (error?: Error | null) => {
      if (error === null || error === undefined) {
        this.#progress();
        taken();
      }
    };
    if (before === "") return socket.write(bytes, done);
    socket.write(before, "latin1");
    socket.write(bytes);
    return socket.write(after, "latin1", done);
  }

  sendText(text: string): void {
    this.socket.write(text, "latin1");
  }

  bodyComplete(): void {
    this.#bodySent = true;
  }

  readingChanged(): void {
    const call = this.#call;
    if (this.#state !== "call" || call === null) return;
    if (call.paused) {
      this.socket.pause();
      if (this.#answered) this.deadlineMs = 0;
    } else if (this.socket.isPaused()) {
      this.socket.resume();
      if (this.#answered) this.#bodyWithin();
    }
  }

  drop(): void {
    this.destroy();
  }

  // ---- the socket's side

  #open(upgrade: boolean): Socket {
    const { origin, tls, lookup } = this.#host.options;
    const host = origin.hostname.replace(/^\[|\]$/g, "");
    const secure = origin.protocol === "https:";
    const port = Number(origin.port) || (secure ? 443 : 80);
    const common = {
      host,
      port,
      autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS,
      highWaterMark: this.#host.limits.unsentBytes,
      ...(lookup === undefined ? {} : { lookup }),
    };
    if (secure) {
      const named = /^[0-9.]+$|:/.test(host) ? {} : { servername: host }; // no SNI for addresses (RFC 6066)
      const socket = connectTls({ ...named, ...tls, ...common, ALPNProtocols: ["http/1.1"] });
      socket.once("connect", () => (this.#tcpDone = true));
      socket.once("secureConnect", this.#onConnect);
      socket.on("data", this.#onData);
      return socket;
    }
    // An upgraded socket goes to somebody who wants `data` events.
    if (upgrade) return connectNet(common, this.#onConnect).on("data", this.#onData);
    const onread = {
      buffer: readBuffer(this.#host.limits.readBytes),
      callback: (length: number, memory: Uint8Array) => {
        this.#onData(Buffer.from(memory.buffer, memory.byteOffset, length));
        return true;
      },
    };
    return connectNet({ ...common, onread }, this.#onConnect);
  }

  readonly #onConnect = (): void => {
    const call = this.#call;
    if (this.#state === "connecting" && call !== null) this.#begin(call);
  };

  readonly #onData = (chunk: Buffer): void => {
    if (this.#state !== "call") return this.destroy(); // an answer that nobody asked for
    this.#heard = true;
    const parser = this.#parser;
    let at = 0;
    while (at < chunk.length) {
      at = parser.feed(chunk, at);
      const call = this.#call;
      if (call === null) return;
      if (parser.head !== null) {
        if (parser.head.status < 200) {
          if (!this.#interim(call, chunk, at)) return;
        } else if (!this.#head(call)) return;
      }
      const { body } = parser;
      for (let i = 0; i < body.length; i += 2) {
        call.handler.data(chunk.subarray(body[i], body[i + 1]));
        if (this.#call !== call) return;
      }
      if (parser.fault !== null) {
        const kind = parser.fault === "head-too-large" ? "head-too-large" : "malformed";
        return this.#fail(kind, parser.fault, "the answer is not valid HTTP/1.1");
      }
      if (parser.complete && this.#answered) return this.#complete(call, at === chunk.length);
    }
    if (this.#answered && this.#call?.paused !== true) this.#bodyWithin();
  };

  readonly #onDrain = (): void => {
    this.#progress();
    this.#call?.drained();
  };

  readonly #onEnd = (): void => {
    const call = this.#call;
    if (this.#state !== "call" || call === null) return this.destroy();
    if (this.#parser.finish() && this.#parser.complete && this.#answered) return this.#complete(call, false);
    this.#broken("closed", "the origin closed the connection");
  };

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    this.#error = error;
    if (this.#state === "connecting") {
      const call = this.#call;
      const tls = this.#tcpDone;
      this.destroy();
      call?.fail(connectFailure(error, tls));
    } else if (this.#state === "call") this.#broken(error.code ?? "unknown", error.message);
    else this.destroy();
  };

  readonly #onClose = (): void => {
    if (this.#state === "over") return;
    if (this.#state === "connecting") this.#fail("refused", "closed", "the connection was closed", false);
    else if (this.#state === "call") this.#broken(this.#error?.code ?? "closed", "the connection was closed");
    else this.destroy();
  };

  // ---- one call

  #begin(call: Call): void {
    this.#call = call;
    this.#state = "call";
    this.#heard = false;
    this.#answered = false;
    this.#interims = 0;
    this.#bodySent = false;
    this.#parser.expectNoBody(call.request.method === "HEAD");
    this.deadlineMs = this.#host.now() + (call.request.headTimeoutMs ?? this.#host.timeouts.headMs);
    const { body } = call.request;
    if (typeof body !== "object") {
      if (!call.bodyComplete || body === "chunked") this.#cork();
      this.socket.write(call.head, "latin1");
    } else if (body.length <= COPY_BYTES) {
      const whole = Buffer.allocUnsafe(call.head.length + body.length);
      whole.write(call.head, 0, "latin1");
      whole.set(body, call.head.length);
      this.socket.write(whole);
    } else {
      this.#cork();
      this.socket.write(call.head, "latin1");
      this.socket.write(body);
    }
    call.startedOn(this);
    this.readingChanged();
  }

  /** Answers whether parsing goes on. */
  #interim(call: Call, chunk: Buffer, at: number): boolean {
    const head = this.#parser.head;
    if (head === null) return true;
    if (head.status === 101) {
      if (call.request.upgrade === undefined || call.handler.upgraded === undefined || !head.upgrade) {
        this.#fail("malformed", "upgrade", "the origin left HTTP without being asked");
        return false;
      }
      this.#handOver(call, head.headers, Buffer.from(chunk.subarray(at)));
      return false;
    }
    this.#interims += 1;
    if (this.#interims > this.#host.limits.interims) {
      this.#fail("malformed", "interims", "there were too many informational answers");
      return false;
    }
    call.handler.interim?.(head.status, head.headers);
    return this.#call === call;
  }

  #head(call: Call): boolean {
    const parsed = this.#parser.head;
    const checked = parsed === null ? null : checkAnswer(parsed, this.#host.timeouts.idleMs);
    if (checked === null) {
      this.#fail("malformed", "length", "the length of the answer is not clear");
      return false;
    }
    this.#answered = true;
    this.#keepMs = checked.keepMs;
    this.deadlineMs = 0;
    call.handler.head(checked.head, this.#parser.complete && this.#parser.body.length === 0);
    return this.#call === call;
  }

  #complete(call: Call, nothingLeft: boolean): void {
    const again = nothingLeft && this.#keepMs > 0 && this.#bodySent && this.socket.writableLength === 0;
    const { trailers } = this.#parser;
    if (again) {
      this.#call = null;
      this.#state = "idle";
      if (this.socket.isPaused()) this.socket.resume();
      // First the pool, so that a request made by the handler finds this connection.
      this.#host.idle(this, this.#keepMs);
    } else this.destroy();
    call.finish(trailers);
  }

  #handOver(call: Call, headers: HeaderList, rest: Buffer): void {
    const { socket } = this;
    socket.off("data", this.#onData);
    socket.off("drain", this.#onDrain);
    socket.off("end", this.#onEnd);
    socket.off("error", this.#onError);
    socket.off("close", this.#onClose);
    this.#state = "over";
    this.#call = null;
    this.#parser.free();
    this.#host.gone(this);
    call.closed = true;
    call.handler.upgraded?.({ status: 101, headers, bodyBytes: null }, socket, rest);
  }

  /** The connection ended in the middle. */
  #broken(code: string, message: string): void {
    const call = this.#call;
    if (call !== null && this.#reused && !this.#heard && call.repeatable && !call.closed) {
      call.retried = true;
      call.detach();
      this.destroy();
      return this.#host.retry(call);
    }
    this.#fail(this.#answered ? "reset-after-head" : "reset-before-head", code, message);
  }

  #fail(kind: ClientFailureKind, code: string, message: string, sent = this.#state === "call"): void {
    const call = this.#call;
    this.destroy();
    call?.fail(failure(kind, code, message, sent));
  }

  /** The origin takes the body: it has its time for an answer from here. */
  #progress(): void {
    const call = this.#call;
    if (this.#state !== "call" || this.#answered || call === null) return;
    this.deadlineMs = this.#host.now() + (call.request.headTimeoutMs ?? this.#host.timeouts.headMs);
  }

  #bodyWithin(): void {
    const { bodyIdleMs } = this.#host.timeouts;
    this.deadlineMs = bodyIdleMs === 0 ? 0 : this.#host.now() + bodyIdleMs;
  }

  /** All writes of this turn become one system call. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.socket.cork();
    process.nextTick(uncork, this);
  }

  uncork(): void {
    this.#corked = false;
    this.socket.uncork();
  }
}

const uncork = (connection: ClientConnection): void => connection.uncork();
