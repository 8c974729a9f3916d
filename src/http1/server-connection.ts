import type { Socket } from "node:net";
import { cutSocket } from "./cut-socket.ts";
import type { ServerLimits, ServerTimeouts } from "./limits.ts";
import { LINGER_MS, PIPELINED_BYTES } from "./limits.ts";
import { createRequestParser, type ParsedHead, type ParseFault, type Parser } from "./parser.ts";
import { refusalText } from "./refusal.ts";
import { REFUSALS } from "./refusals.ts";
import { checkRequest, type RefusalCause } from "./request-checks.ts";
import { type ExchangeHost, ServerExchange } from "./server-exchange.ts";
import type { Http1ServerOptions } from "./server-types.ts";
import type { ExchangeOutcome } from "./types.ts";

export interface ConnectionContext {
  readonly options: Pick<Http1ServerOptions, "onRequest" | "onRefused">;
  readonly limits: ServerLimits;
  readonly timeouts: ServerTimeouts;
  /** Monotonic, in ms. */
  readonly now: () => number;
  readonly draining: () => boolean;
  opened(): void;
  closed(): void;
  gone(connection: ServerConnection): void;
}

/**
 * "idle": between requests. "head": a request's head is coming. "exchange": a request is being answered (its body may still come).
 * "discard": answered, the rest of its body is thrown away. "linger": our end is sent; what still comes is thrown away. "over": no socket.
 */
type State = "idle" | "head" | "exchange" | "discard" | "linger" | "over";

/** One connection of the server: requests in order, one exchange at a time. */
export class ServerConnection implements ExchangeHost {
  readonly socket: Socket;
  keepAlive = true;
  readonly #context: ConnectionContext;
  readonly #parser: Parser;
  #state: State = "idle";
  #exchange: ServerExchange | null = null;
  /** Whether the current request has come completely. */
  #received = true;
  #discarded = 0;
  #bodyLeft: number | null = 0;
  #pipelined: Buffer[] = [];
  #pipelinedBytes = 0;
  #requests = 0;
  #deadlineMs: number;
  #failure: "client-closed" | "client-reset" = "client-closed";

  constructor(socket: Socket, context: ConnectionContext) {
    this.socket = socket;
    this.#context = context;
    this.#parser = createRequestParser(context.limits);
    this.#deadlineMs = context.now() + context.timeouts.headMs;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("drain", this.#onDrain);
    socket.on("timeout", this.#onStalled);
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
  }

  /** Looks at the deadline of the state it is in. */
  sweep(now: number): void {
    if (this.#deadlineMs === 0 || now < this.#deadlineMs) return;
    switch (this.#state) {
      case "idle":
        this.#linger();
        break;
      case "head":
        this.#refuse(REFUSALS.timeout);
        break;
      case "exchange":
        this.#breakBody("body-timeout", REFUSALS.timeout);
        break;
      case "discard":
      case "linger":
        this.socket.destroy();
        break;
      case "over":
        break;
    }
  }

  /** The server is closing: nothing new. */
  drain(): void {
    this.keepAlive = false;
    if (this.#state === "idle") this.#linger();
  }

  refuseOverload(): void {
    this.#refuse(REFUSALS.overloaded);
  }

  // ---- the exchange's side

  restIsSmall(): boolean {
    return this.#received || (this.#bodyLeft !== null && this.#bodyLeft <= this.#context.limits.drainBytes);
  }

  answered(keepAlive: boolean): void {
    if (!keepAlive) this.keepAlive = false;
    if (this.socket.writableLength > 0) this.stalled();
  }

  flushed(): void {
    this.#advance();
  }

  stalled(): void {
    // Node looks at the progress of the write under way, so a slow client is no stalled one.
    if (this.socket.timeout !== this.#context.timeouts.writeIdleMs) {
      this.socket.setTimeout(this.#context.timeouts.writeIdleMs);
    }
  }

  readingChanged(): void {
    if (this.#state === "over") return;
    const { socket } = this;
    const bodyHeld = this.#state === "exchange" && !this.#received && this.#exchange?.paused === true;
    if (bodyHeld || this.#pipelinedBytes >= PIPELINED_BYTES) {
      if (!socket.isPaused()) socket.pause();
      if (bodyHeld) this.#deadlineMs = 0;
      return;
    }
    if (socket.isPaused()) {
      socket.resume();
      if (this.#state === "exchange" && !this.#received) this.#within(this.#context.timeouts.bodyIdleMs);
    }
  }

  cut(): void {
    if (this.#state === "over") return;
    cutSocket(this.socket);
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#state = "over";
    if (exchange !== null) process.nextTick(() => this.#finish(exchange, { kind: "gone", reason: "aborted" }));
  }

  take(): Buffer | null {
    const { socket } = this;
    if (this.#state !== "exchange" || socket.destroyed) return null;
    const exchange = this.#exchange;
    const rest = Buffer.concat(this.#pipelined);
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("drain", this.#onDrain);
    socket.off("timeout", this.#onStalled);
    socket.off("error", this.#onError);
    socket.off("close", this.#onClose);
    socket.setTimeout(0);
    if (socket.isPaused()) socket.resume();
    this.#exchange = null;
    this.#leave();
    if (exchange !== null) process.nextTick(() => this.#finish(exchange, { kind: "gone", reason: "taken" }));
    return rest;
  }

  // ---- the socket's side

  readonly #onData = (chunk: Buffer): void => {
    switch (this.#state) {
      case "exchange":
        if (!this.#received) return this.#parse(chunk);
        this.#pipelined.push(chunk);
        this.#pipelinedBytes += chunk.length;
        return this.readingChanged();
      case "idle":
      case "head":
      case "discard":
        return this.#parse(chunk);
      case "linger":
        this.#discarded += chunk.length;
        if (this.#discarded > this.#context.limits.drainBytes) this.socket.destroy();
        return;
      case "over":
        return;
    }
  };

  /** Also the end of a half: an answer to somebody who has hung up is work for nobody. */
  readonly #onEnd = (): void => {
    if (this.#exchange !== null) {
      const exchange = this.#exchange;
      this.#exchange = null;
      this.#linger();
      this.#finish(exchange, { kind: "gone", reason: "client-closed" });
    } else this.#linger();
  };

  readonly #onDrain = (): void => {
    this.socket.setTimeout(0);
    const exchange = this.#exchange;
    if (exchange === null) return;
    if (exchange.answer === "open") exchange.events.writable?.();
  };

  readonly #onStalled = (): void => {
    if (this.socket.writableLength === 0) {
      this.socket.setTimeout(0);
      return;
    }
    const exchange = this.#exchange;
    this.#exchange = null;
    this.socket.destroy();
    if (exchange !== null) this.#finish(exchange, { kind: "gone", reason: "write-timeout" });
  };

  readonly #onError = (): void => {
    this.#failure = "client-reset";
  };

  readonly #onClose = (): void => {
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#leave();
    if (exchange !== null) this.#finish(exchange, { kind: "gone", reason: this.#failure });
  };

  // ---- requests

  #parse(chunk: Buffer): void {
    const parser = this.#parser;
    let at = 0;
    while (at < chunk.length) {
      at = parser.feed(chunk, at);
      if (parser.head !== null && !this.#start(parser.head)) return;
      if (parser.body.length > 0) this.#deliver(chunk, parser.body);
      if (parser.fault !== null) return this.#malformed(parser.fault);
      if (parser.complete) {
        this.#received = true;
        if (!this.#complete(chunk, at)) return;
      }
    }
    if (this.#state === "idle" && parser.midMessage) {
      this.#state = "head";
      this.#within(this.#context.timeouts.headMs);
    } else if (this.#state === "exchange" && !this.#received && !this.socket.isPaused()) {
      this.#within(this.#context.timeouts.bodyIdleMs);
    }
  }

  /** Answers whether parsing goes on. */
  #start(parsed: ParsedHead): boolean {
    const checked = checkRequest(parsed);
    if (!checked.ok) {
      this.#refuse(checked.error);
      return false;
    }
    this.#requests += 1;
    if (this.#requests >= this.#context.limits.requestsPerConnection || this.#context.draining())
      this.keepAlive = false;
    const exchange = new ServerExchange(this, checked.value, this.socket.remoteAddress ?? null);
    const { request } = exchange;
    this.#exchange = exchange;
    this.#state = "exchange";
    this.#deadlineMs = 0;
    this.#received = request.body === "none";
    this.#bodyLeft = request.body === "none" ? 0 : request.bodyBytes;
    this.#discarded = 0;
    this.#context.opened();
    exchange.events = this.#context.options.onRequest(exchange);
    if (exchange.expectsContinue && exchange.answer === "none" && !exchange.closed) exchange.interim(100, []);
    return this.#live();
  }

  #deliver(chunk: Buffer, pieces: readonly number[]): void {
    for (let i = 0; i < pieces.length; i += 2) {
      const start = pieces[i] ?? 0;
      const end = pieces[i + 1] ?? 0;
      if (this.#bodyLeft !== null) this.#bodyLeft -= end - start;
      const exchange = this.#exchange;
      if (exchange !== null && exchange.answer !== "complete") exchange.events.data?.(chunk.subarray(start, end));
      else {
        this.#discarded += end - start;
        if (this.#discarded > this.#context.limits.drainBytes) this.keepAlive = false;
      }
    }
    // An early answer to an upload that goes on and on.
    if (this.#state === "discard" && !this.keepAlive) this.#linger();
  }

  /** The request has come completely. Answers whether the next one is parsed now. */
  #complete(chunk: Buffer, at: number): boolean {
    if (!this.#live()) return false;
    this.#deadlineMs = 0;
    const exchange = this.#exchange;
    if (exchange === null) {
      // The rest of a body that nobody wanted.
      if (this.#state !== "discard") return false;
      this.#next();
      return this.#idle();
    }
    if (exchange.request.body === "stream" && exchange.answer !== "complete") {
      exchange.events.end?.(this.#parser.trailers);
    }
    if (!this.#live()) return false;
    if (at < chunk.length) {
      const rest = chunk.subarray(at);
      this.#pipelined.push(rest);
      this.#pipelinedBytes += rest.length;
    }
    this.readingChanged();
    return false;
  }

  #malformed(fault: ParseFault): void {
    if (!this.#live()) return;
    const cause = REFUSALS[fault];
    if (this.#exchange === null && this.#state !== "discard") this.#refuse(cause);
    else this.#breakBody("body-malformed", cause);
  }

  /** The request broke while it was being answered: the exchange is over, and the client is told if nothing was said yet. */
  #breakBody(reason: "body-malformed" | "body-timeout", cause: RefusalCause): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    if (exchange === null || exchange.answer === "complete") this.#linger();
    else if (exchange.answer === "none") this.#refuse(cause);
    else cutSocket(this.socket);
    if (exchange !== null) this.#finish(exchange, { kind: "gone", reason });
  }

  #refuse(cause: RefusalCause): void {
    const refusal = { ...cause, remoteAddress: this.socket.remoteAddress ?? null };
    this.socket.write(refusalText(refusal, this.#context.options.onRefused));
    this.#linger();
  }

  // ---- from one request to the next

  #advance(): void {
    const exchange = this.#exchange;
    if (exchange === null || exchange.answer !== "complete" || this.#state !== "exchange") return;
    if (this.socket.timeout) this.socket.setTimeout(0);
    this.#exchange = null;
    this.#finish(exchange, { kind: "finished" });
    if (!this.#live()) return;
    if (this.#received) return this.#next();
    if (!this.keepAlive || !this.restIsSmallOrUnknown()) return this.#linger();
    this.#state = "discard";
    this.#within(this.#context.timeouts.bodyIdleMs);
    this.readingChanged();
  }

  restIsSmallOrUnknown(): boolean {
    return this.#bodyLeft === null || this.restIsSmall();
  }

  #next(): void {
    if (!this.keepAlive) return this.#linger();
    this.#state = "idle";
    this.#within(this.#context.timeouts.idleMs);
    if (this.#pipelinedBytes === 0) return;
    const waiting = this.#pipelined.length === 1 ? this.#pipelined[0] : Buffer.concat(this.#pipelined);
    this.#pipelined = [];
    this.#pipelinedBytes = 0;
    this.readingChanged();
    if (waiting !== undefined) this.#parse(waiting);
  }

  /** Sends our end and gives the client time to read it: closing with unread bytes would reset the answer away. */
  #linger(): void {
    if (this.#state === "over" || this.#state === "linger") return;
    this.#state = "linger";
    this.#discarded = 0;
    this.#within(LINGER_MS);
    this.socket.end();
    if (this.socket.isPaused()) this.socket.resume();
    if (this.socket.readableEnded) this.socket.destroySoon();
  }

  #live(): boolean {
    return this.#state !== "over" && !this.socket.destroyed;
  }

  #idle(): boolean {
    return this.#state === "idle" && !this.socket.destroyed;
  }

  #within(ms: number): void {
    this.#deadlineMs = this.#context.now() + ms;
  }

  #finish(exchange: ServerExchange, outcome: ExchangeOutcome): void {
    if (exchange.closed) return;
    this.#context.closed();
    exchange.close(outcome);
  }

  #leave(): void {
    this.#state = "over";
    this.#parser.free();
    this.#context.gone(this);
  }
}
