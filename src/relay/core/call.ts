import type {
  HeaderList,
  ResetReason,
  ResponseHead,
  Stream,
  StreamEvents,
  StreamOutcome,
  TunnelledMessage,
} from "../../protocol/tunnel/session.ts";
import type { LinkedList, Linked } from "../../protocol/linked-list.ts";
import { ATTEMPTS_MAX, INTERIMS_MAX, REPLAY_BYTES, WS_QUEUE_BYTES } from "../limits.ts";
import { answerReserve, type SendAccount } from "./account.ts";
import {
  brokenOff,
  failureOf,
  finalRefusal,
  laneReplaced,
  refusal,
  tenantSuspended,
  type LaneFailure,
} from "./failures.ts";
import type { LiveLink } from "./links.ts";
import { overdue, type ExchangeLimits } from "./timers.ts";
import type { AnswerAbout, AnswerEvents, BrokerRequest, Call, CallRecord } from "./types.ts";

/** What a request needs of its lane. */
export interface CallPorts {
  readonly lane: "a" | "b";
  readonly now: () => number;
  readonly account: SendAccount;
  /** Requests under way, this one included until its last byte was taken. */
  readonly running: LinkedList<CallCore>;
  /** Requests that the account holds back: they are asked again when messages went out. */
  readonly thirsty: Set<CallCore>;
  /** Requests that wait for a connector. */
  readonly queued: Set<CallCore>;
  /** Another connector for it, or why there is none. */
  choose(request: BrokerRequest, tried: readonly LiveLink[]): LiveLink | LaneFailure;
  /** Name of a connector, for people. */
  connectorName(connectorId: string): string;
  ended(record: CallRecord): void;
}

export interface CallLimits extends ExchangeLimits {
  readonly waitForConnectorMs: number;
  /** Longest request body; null: any. */
  readonly bodyBytes: number | null;
}

/** RFC 9110, section 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

type Phase =
  /** For a connector to come. */
  | "queued"
  | "waiting"
  | "answering"
  | "answered"
  | "socket"
  /** The visitor was told all that it will be. Bytes that it has not taken may still be held. */
  | "over";

/** One request, over as many connectors as it takes (docs/protocol.md, "Streams"; D14). */
export class CallCore implements Call, Linked<CallCore> {
  before: CallCore | null = null;
  after: CallCore | null = null;
  readonly #ports: CallPorts;
  readonly #limits: CallLimits;
  readonly #request: BrokerRequest;
  readonly #answer: AnswerEvents;
  readonly #startedMs: number;
  readonly #headBytes: number;
  readonly #tried: LiveLink[] = [];
  #phase: Phase = "queued";
  #attempt: Attempt | null = null;
  #attempts = 0;
  /** Why the last connector failed; told when no other takes over. */
  #lastFailure: LaneFailure | null = null;
  /** When the first connector was asked, and since when it has been that nothing of the request moved. */
  #askedMs: number | null = null;
  #attemptMs = 0;
  #progressMs: number;
  /** All of the body so far, while another connector could still need it. */
  #kept: Uint8Array[] | null = [];
  #keptBytes = 0;
  #bodyEnded: boolean;
  #trailers: HeaderList = [];
  #wantsWritable = false;
  #interimSent = false;
  #interims = 0;
  #charged = 0;
  #bytesUp = 0;
  #bytesDown = 0;
  #status: number | null = null;
  #code: string | null = null;
  #recorded = false;

  constructor(ports: CallPorts, limits: CallLimits, request: BrokerRequest, answer: AnswerEvents, headBytes: number) {
    this.#ports = ports;
    this.#limits = limits;
    this.#request = request;
    this.#answer = answer;
    this.#headBytes = headBytes;
    this.#startedMs = ports.now();
    this.#progressMs = this.#startedMs;
    this.#bodyEnded = request.body !== "stream";
    ports.running.add(this);
    ports.account.reserve(answerReserve(request.body));
    this.recharge();
  }

  get closed(): boolean {
    return this.#phase === "over";
  }

  get heldBytes(): number {
    return this.#attempt?.stream?.heldBytes ?? 0;
  }

  get writable(): number {
    const room = this.#room();
    if (room <= 0) this.#wantsWritable = true;
    return room;
  }

  // ---- what the visitor's side says

  write(bytes: Uint8Array): number {
    if (this.#phase === "over" || this.#bodyEnded || this.#request.body !== "stream") return 0;
    this.#bytesUp += bytes.length;
    const { bodyBytes } = this.#limits;
    if (bodyBytes !== null && this.#bytesUp > bodyBytes) {
      this.#break("cancelled", "the request's body is too long", bodyTooLarge(bodyBytes));
      return 0;
    }
    if (!this.#fits(bytes.length)) {
      this.#break("overload", "the relay is at its limit", overCapacity(this.#request.target));
      return 0;
    }
    this.#progressMs = this.#ports.now();
    if (this.#kept !== null) {
      this.#kept.push(bytes);
      this.#keptBytes += bytes.length;
      if (this.#attempt !== null && this.#keptBytes > this.#keepable()) this.#forget();
    }
    this.#attempt?.stream?.write(bytes);
    this.recharge();
    return this.writable;
  }

  end(trailers: HeaderList = []): void {
    if (this.#bodyEnded) return;
    this.#bodyEnded = true;
    this.#trailers = trailers;
    this.#attempt?.stream?.end(trailers);
  }

  sendMessage(kind: "text" | "binary", data: Uint8Array): number {
    const stream = this.#attempt?.stream;
    if (this.#phase !== "socket" || stream === undefined || stream === null) return 0;
    this.#bytesUp += data.length;
    if (stream.queuedBytes + data.length > WS_QUEUE_BYTES || !this.#fits(data.length)) {
      this.#break("overload", "the visitor sends faster than the target reads", overCapacity(this.#request.target));
      return 0;
    }
    stream.sendMessage(kind, data);
    this.recharge();
    return this.writable;
  }

  sendMessageClose(code: number, reason: string): void {
    if (this.#phase === "socket") this.#attempt?.stream?.sendMessageClose(code, reason);
  }

  consumed(bytes: number): void {
    this.#attempt?.stream?.consumed(bytes);
    this.#settle();
  }

  cancel(reason: string): void {
    this.#phase = "over";
    this.#forget();
    this.#attempt?.stream?.reset("cancelled", reason);
    this.#settle();
  }

  // ---- what the lane says

  /** Asks connectors until one takes it, or nobody is left to ask. */
  next(): void {
    while (this.#attempts < ATTEMPTS_MAX) {
      const found = this.#ports.choose(this.#request, this.#tried);
      if ("code" in found) {
        if (found.code === "no-connector" && this.#mayWait()) return this.#wait();
        return this.#fail(this.#lastFailure ?? found);
      }
      this.#tried.push(found);
      if (this.#ask(found)) return;
      if (this.closed) return;
    }
    this.#fail(
      this.#lastFailure ?? refusal("over-capacity", `No connector took the request for "${this.#request.target}".`),
    );
  }

  /** The lane closes these sockets at the end of its drain. Who still waits for an answer is told by the loss, or asked again. */
  laneReplaced(closing: ReadonlySet<LiveLink>): void {
    const link = this.#attempt?.link;
    if (link === undefined || !closing.has(link)) return;
    if (this.#phase === "answering" || this.#phase === "socket")
      this.#break("cancelled", "this lane is being replaced", laneReplaced(this.#request.target));
  }

  tenantSuspended(): void {
    if (this.#phase === "queued") this.#fail(tenantSuspended());
    else if (this.#phase !== "answered" && this.#phase !== "over")
      this.#break("cancelled", "the tenant is suspended", tenantSuspended());
  }

  /** A connector came or got better. */
  connectorsChanged(): void {
    if (this.#phase === "queued") this.next();
  }

  /** Messages went out: there may be room again. False while there is not, and somebody waits for it. */
  refill(): boolean {
    this.recharge();
    if (this.#wantsWritable && this.#room() > 0) this.#tellWritable();
    return !this.#wantsWritable;
  }

  /** Counts anew what it holds on its way to a connector. */
  recharge(): void {
    const stream = this.#attempt?.stream;
    const queued = stream === undefined || stream === null || stream.closed ? 0 : stream.queuedBytes;
    const now = this.#kept === null ? queued : this.#headBytes + Math.max(this.#keptBytes, queued);
    if (now === this.#charged) return;
    this.#ports.account.charge(now - this.#charged);
    this.#charged = now;
  }

  sweep(nowMs: number): void {
    this.recharge();
    if (this.#phase === "queued") {
      if (this.#isTooOld(nowMs)) return this.#fail(this.#tooOld());
      if (!this.#mayWait()) this.next();
      return;
    }
    const stream = this.#attempt?.stream;
    if (stream === undefined || stream === null) return;
    this.#settle();
    if (this.#phase === "over" && stream.closed && stream.heldBytes === 0) return;
    const phase = this.#phase === "over" ? "answered" : this.#phase;
    const sinceMs = phase === "waiting" ? this.#waitingSince(stream) : stream.lastProgressMs;
    const times = {
      phase,
      quietMs: nowMs - sinceMs,
      ageMs: nowMs - this.#startedMs,
      heldBytes: stream.heldBytes,
      streamOver: stream.closed,
    };
    const limits = this.#limits;
    switch (overdue(times, limits)) {
      case "unwanted-upload":
        return stream.reset("cancelled", "answered");
      case "idle":
        return this.#expire(
          "stalled",
          `nothing moved for ${seconds(phase === "socket" ? limits.idleSocketMs : limits.idleMs)}`,
        );
      case "stalled":
        return this.#expire("stalled", "the visitor takes nothing");
      case "total":
        return this.#break("deadline-exceeded", this.#totalText(), this.#tooOld());
      case "first-byte": {
        const limit = `limit ${seconds(limits.firstByteMs)}`;
        const { target } = this.#request;
        return this.#bodyEnded
          ? this.#break("deadline-exceeded", limit, failureOf("target-timeout", target, limit))
          : this.#break(
              "deadline-exceeded",
              limit,
              failureOf("deadline-exceeded", target, `the request's body stopped coming, ${limit}`),
            );
      }
      case null:
    }
  }

  // ---- what happens at the connector

  interim(head: ResponseHead): void {
    if (this.#phase !== "waiting") return;
    this.#progressMs = this.#ports.now();
    this.#interims += 1;
    if (this.#interims > INTERIMS_MAX) {
      const text = "too many interim answers";
      return this.#break("protocol", text, failureOf("protocol", this.#request.target, text));
    }
    if (head.status === 100) return; // of this hop
    this.#interimSent = true;
    this.#answer.interim?.(head);
  }

  answered(link: LiveLink, head: ResponseHead): void {
    if (this.#phase !== "waiting") return;
    const nowMs = this.#ports.now();
    this.#phase = head.status === 101 ? "socket" : "answering";
    this.#status = head.status;
    this.#forget();
    const about: AnswerAbout = {
      lane: this.#ports.lane,
      connectorId: link.connectorId,
      connector: this.#ports.connectorName(link.connectorId),
      instanceId: link.instanceId,
      software: link.session.peer?.software ?? "",
      attempts: this.#attempts,
      waitedMs: (this.#askedMs ?? nowMs) - this.#startedMs,
      firstByteMs: nowMs - this.#attemptMs,
    };
    this.#answer.head(head, about);
  }

  data(stream: Stream, bytes: Uint8Array): void {
    this.#bytesDown += bytes.length;
    if (this.#phase === "answering") this.#answer.data(bytes);
    else stream.consumed(bytes.length);
  }

  finishedBody(trailers: HeaderList): void {
    if (this.#phase !== "answering") return;
    this.#phase = "answered";
    this.#answer.end(trailers);
  }

  message(stream: Stream, { kind, data, creditBytes }: TunnelledMessage): void {
    this.#bytesDown += data.length;
    if (this.#phase === "socket") this.#answer.message(kind, data, creditBytes);
    else stream.consumed(creditBytes);
  }

  messageClose(code: number, reason: string): void {
    if (this.#phase === "socket") this.#answer.messageClose(code, reason);
  }

  roomy(): void {
    this.#progressMs = this.#ports.now();
    if (this.#phase !== "over" && !this.refill()) this.#ports.thirsty.add(this);
  }

  streamEnded(outcome: StreamOutcome): void {
    this.recharge();
    if (outcome.kind === "reset") {
      const { reason, text } = outcome;
      const { target } = this.#request;
      if (this.#phase === "waiting") {
        this.#lastFailure = failureOf(reason, target, text);
        if (this.#mayTryAgain(reason)) return this.next();
        return this.#fail(this.#lastFailure);
      }
      if (this.#phase === "answering" || this.#phase === "socket") return this.#fail(brokenOff(reason, target, text));
    }
    if (this.#phase === "answered" || this.#phase === "socket") this.#phase = "over";
    this.#settle();
    this.#tellWritable(); // who waits to send more learns that nobody wants it
  }

  // ---- inside

  /** True when the request is on its way, or over. */
  #ask(link: LiveLink): boolean {
    const { target, method, path, headers, body, urgency } = this.#request;
    const nowMs = this.#ports.now();
    const attempt = new Attempt(this, link);
    this.#askedMs ??= nowMs;
    if (this.#attempts === 0) this.#progressMs = nowMs;
    const opened = link.session.open(
      {
        target,
        method,
        path,
        headers,
        end: body === "none",
        upgrade: body === "websocket" ? "websocket" : null,
        deadlineMs: this.#deadlineMs(nowMs),
        urgency,
      },
      attempt,
    );
    if (!opened.ok) {
      if (opened.error.reason !== "not-sendable") return false;
      this.#fail(finalRefusal("bad-request", `The request can't be carried: ${opened.error.text}.`));
      return true;
    }
    const { stream } = opened;
    attempt.stream = stream;
    this.#attempt = attempt;
    this.#attempts += 1;
    const { connectorId, instanceId } = link;
    this.#request.watch?.asked(
      { connectorId, connector: this.#ports.connectorName(connectorId), instanceId },
      this.#lastFailure?.code ?? null,
    );
    this.#attemptMs = nowMs;
    this.#phase = "waiting";
    this.#ports.queued.delete(this);
    if (body !== "stream") return true;
    for (const bytes of this.#kept ?? []) stream.write(bytes);
    if (this.#bodyEnded) stream.end(this.#trailers);
    else this.refill();
    return true;
  }

  /** Never 0, which would be none. */
  #deadlineMs(nowMs: number): number {
    const { firstByteMs, totalMs } = this.#limits;
    const leftMs = firstByteMs - (nowMs - this.#progressMs);
    const totalLeftMs = totalMs === null ? leftMs : totalMs - (nowMs - this.#startedMs);
    return Math.max(1, Math.round(Math.min(leftMs, totalLeftMs)));
  }

  /** A body that comes moves the deadline of the first byte; that it lies in our queue does not count. */
  #waitingSince(stream: Stream): number {
    const isMoving = this.#request.body === "stream" && (!this.#bodyEnded || stream.queuedBytes > 0);
    return isMoving ? Math.max(this.#progressMs, stream.lastProgressMs) : this.#progressMs;
  }

  #room(): number {
    if (this.#phase === "over" || (this.#bodyEnded && this.#phase !== "socket")) return 0;
    const stream = this.#attempt?.stream;
    if (stream === undefined || stream === null || this.#phase === "queued") return this.#keepable() - this.#keptBytes;
    const room = stream.writable;
    if (room <= 0) return room;
    const allowance = this.#ports.account.allowance(stream.queuedBytes);
    if (allowance < room) {
      if (allowance <= 0) this.#ports.thirsty.add(this);
      return allowance;
    }
    return room;
  }

  /** Estimates are high: what has left in the meantime is counted before anybody is refused. */
  #fits(bytes: number): boolean {
    const { account, running } = this.#ports;
    if (account.fits(bytes)) return true;
    for (const call of running.all()) call.recharge();
    return account.fits(bytes);
  }

  /** Of the body, in case that another connector needs it. Less when much is kept already: to be able to repeat is not worth a refusal. */
  #keepable(): number {
    return Math.min(REPLAY_BYTES, this.#ports.account.allowance(0));
  }

  #tellWritable(): void {
    if (!this.#wantsWritable) return;
    this.#wantsWritable = false;
    this.#answer.writable();
  }

  /** The body can't be sent again from here on. */
  #forget(): void {
    this.#kept = null;
    this.#keptBytes = 0;
    this.recharge();
  }

  /**
   * Provably safe to repeat (D14): nothing was started; or no byte of an answer came, the method is idempotent and the body is still here.
   * In both cases a body that was not kept can't be sent again.
   */
  #mayTryAgain(reason: ResetReason): boolean {
    if (this.#kept === null || this.#interimSent) return false;
    if (reason === "refused-before-start" || reason === "unknown-target") return true;
    const { method, body } = this.#request;
    return reason === "session-lost" && body !== "websocket" && IDEMPOTENT.has(method);
  }

  #wait(): void {
    this.#phase = "queued";
    this.#attempt = null;
    this.#ports.queued.add(this);
  }

  #mayWait(): boolean {
    return this.#ports.now() - this.#startedMs < this.#limits.waitForConnectorMs;
  }

  #isTooOld(nowMs: number): boolean {
    return this.#limits.totalMs !== null && nowMs - this.#startedMs > this.#limits.totalMs;
  }

  #totalText(): string {
    return `limit ${seconds(this.#limits.totalMs ?? 0)} in all`;
  }

  #tooOld(): LaneFailure {
    return failureOf("deadline-exceeded", this.#request.target, this.#totalText());
  }

  #expire(reason: Exclude<ResetReason, "session-lost">, text: string): void {
    this.#break(reason, text, brokenOff(reason, this.#request.target, text));
  }

  /** Ends both sides with different words for each. */
  #break(reason: Exclude<ResetReason, "session-lost">, text: string, failure: LaneFailure): void {
    const stream = this.#attempt?.stream;
    this.#fail(failure);
    stream?.reset(reason, text);
    this.#settle();
  }

  #fail(failure: LaneFailure): void {
    const phase = this.#phase;
    if (phase === "over" && this.heldBytes === 0) return;
    this.#phase = "over";
    this.#code = failure.code;
    this.#forget();
    if (phase === "queued" || phase === "waiting") this.#answer.failed(failure);
    else this.#answer.broken(failure);
    this.#settle();
  }

  /** It counts as under way until the visitor has taken what came. */
  #settle(): void {
    if (this.#recorded) return;
    const stream = this.#attempt?.stream;
    const isStreamOver = stream === undefined || stream === null || (stream.closed && stream.heldBytes === 0);
    if (this.#phase !== "over" || !isStreamOver) return;
    this.#recorded = true;
    this.#ports.running.remove(this);
    this.#ports.account.reserve(-answerReserve(this.#request.body));
    this.#ports.thirsty.delete(this);
    this.#ports.queued.delete(this);
    this.#forget();
    const link = this.#attempt?.link ?? null;
    const record: CallRecord = {
      requestId: this.#request.requestId,
      target: this.#request.target,
      method: this.#request.method,
      status: this.#status,
      code: this.#code,
      connectorId: link?.connectorId ?? null,
      instanceId: link?.instanceId ?? null,
      durationMs: this.#ports.now() - this.#startedMs,
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
    };
    this.#ports.ended(record);
    this.#request.watch?.ended(record);
  }
}

/** The request at one connector. */
class Attempt implements StreamEvents {
  readonly link: LiveLink;
  stream: Stream | null = null;
  readonly #call: CallCore;

  constructor(call: CallCore, link: LiveLink) {
    this.#call = call;
    this.link = link;
  }

  head(head: ResponseHead): void {
    if (head.status < 200 && head.status !== 101) this.#call.interim(head);
    else this.#call.answered(this.link, head);
  }
  data(bytes: Uint8Array): void {
    if (this.stream !== null) this.#call.data(this.stream, bytes);
  }
  end(trailers: HeaderList): void {
    this.#call.finishedBody(trailers);
  }
  message(message: TunnelledMessage): void {
    if (this.stream !== null) this.#call.message(this.stream, message);
  }
  messageClose(code: number, reason: string): void {
    this.#call.messageClose(code, reason);
  }
  writable(): void {
    this.#call.roomy();
  }
  closed(outcome: StreamOutcome): void {
    this.#call.streamEnded(outcome);
  }
}

export const bodyTooLarge = (limitBytes: number): LaneFailure =>
  finalRefusal("body-too-large", `The request's body is longer than the ${limitBytes} bytes that this tenant allows.`);

const overCapacity = (target: string): LaneFailure =>
  refusal("over-capacity", `Too much waits to be sent to the connectors of "${target}".`);

const seconds = (ms: number): string => `${ms / 1_000} s`;
