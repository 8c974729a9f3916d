import { returnedFields } from "../../policy/headers.ts";
import { HEADER } from "../../protocol/headers.ts";
import type { LaneVisit } from "../../protocol/visit.ts";
import type { HeaderList, ResponseHead } from "../../protocol/tunnel/session.ts";
import { problem, problemResponse } from "../../shared/problem.ts";
import type { LaneFailure } from "../core/failures.ts";
import { traceFields } from "../core/trace.ts";
import type { AnswerAbout, AnswerEvents, Call } from "../core/types.ts";
import { createAnswerBody, joined, type AnswerBody } from "./answer-body.ts";
import { textOf } from "./octets.ts";
import { bridgeWebSocket, type VisitorSocket } from "./websocket.ts";

/** What an answer needs to know of the request. */
export interface Asked {
  readonly visit: Pick<LaneVisit, "requestId" | "withoutCookies">;
  /** The visitor asked by `/trace/`, and the tenant allows it. */
  readonly trace: boolean;
  readonly method: string;
  readonly software: string;
}

/** `causeway-refused: 1` tells the edge that it may try the other lane. */
export function failureResponse(
  { code, detail, tryElsewhere, retryAfterSeconds }: LaneFailure,
  requestId: string,
): Response {
  const headers: Record<string, string> = {};
  if (tryElsewhere) headers[HEADER.refused] = "1";
  if (retryAfterSeconds !== null) headers["retry-after"] = String(retryAfterSeconds);
  return problemResponse(problem(code, detail, requestId), headers);
}

/**
 * The events of one call as the Response of a Durable Object. An answer that is here as a whole when its head was read has its bytes as
 * body: streams are what costs on this runtime.
 */
export class VisitorAnswer implements AnswerEvents {
  readonly response: Promise<Response>;
  /** Set by whoever made the call, at once. */
  call: Call | null = null;
  /** The request's body wants to know of room. */
  roomy: (() => void) | null = null;
  readonly #asked: Asked;
  readonly #resolve: (response: Response) => void;
  #isAnswered = false;
  #head: ResponseHead | null = null;
  #about: AnswerAbout | null = null;
  #chunks: Uint8Array[] = [];
  #ended = false;
  /** The visitor gets no body, whatever comes. */
  #isHeadOnly = false;
  #failure: LaneFailure | null = null;
  #body: AnswerBody | null = null;
  #socket: VisitorSocket | null = null;

  constructor(asked: Asked) {
    this.#asked = asked;
    const { promise, resolve } = Promise.withResolvers<Response>();
    this.response = promise;
    this.#resolve = resolve;
  }

  head(head: ResponseHead, about: AnswerAbout): void {
    this.#head = head;
    this.#about = about;
    if (head.status === 101 && this.call !== null) this.#socket = bridgeWebSocket(this.call);
    // A microtask later the rest of this message has been read. (By a promise: the runtime's own queueMicrotask is a call out of the engine.)
    void SETTLED.then(() => this.#answer());
  }

  data(bytes: Uint8Array): void {
    if (this.#isHeadOnly) this.call?.consumed(bytes.length);
    else if (this.#body === null) this.#chunks.push(bytes);
    else this.#body.push(bytes);
  }

  end(): void {
    this.#ended = true;
    if (this.#body === null) this.#answer();
    else this.#body.end();
  }

  message(kind: "text" | "binary", data: Uint8Array, creditBytes: number): void {
    this.#socket?.message(kind, data, creditBytes);
  }

  messageClose(code: number, reason: string): void {
    this.#socket?.close(code, reason);
  }

  writable(): void {
    this.roomy?.();
  }

  failed(failure: LaneFailure): void {
    this.#isAnswered = true;
    this.#resolve(failureResponse(failure, this.#asked.visit.requestId));
    this.roomy?.(); // the rest of the request's body is not wanted
  }

  broken(failure: LaneFailure): void {
    this.#failure = failure;
    this.#body?.fail(failure.detail);
    this.#socket?.fail(failure);
    this.roomy?.();
  }

  /** The visitor's body broke off: whoever is left gets something. */
  abandon(): void {
    this.call?.cancel("the visitor's body broke off");
    this.failed({
      code: "bad-request",
      detail: "The request's body broke off.",
      tryElsewhere: false,
      retryAfterSeconds: null,
    });
  }

  #answer(): void {
    if (this.#isAnswered || this.#head === null) return;
    this.#isAnswered = true;
    // It broke off in the very message that began it: a clean error is better than half an answer.
    if (this.#failure !== null && this.#socket === null)
      return this.#resolve(failureResponse(this.#failure, this.#asked.visit.requestId));
    this.#resolve(this.#toResponse(this.#head));
  }

  #toResponse({ status, headers: fields }: ResponseHead): Response {
    const returned = this.#returned(fields);
    if (this.#socket !== null)
      return new Response(null, { status: 101, headers: headersOf(returned), webSocket: this.#socket.client });
    if (this.#asked.method === "HEAD" || status === 204 || status === 205 || status === 304) {
      this.#isHeadOnly = true;
      this.call?.consumed(joined(this.#chunks).length);
      return new Response(null, initOf(status, returned));
    }
    const declared = valueOf(returned, "content-length");
    if (this.#ended) {
      const whole = joined(this.#chunks);
      this.#chunks = [];
      this.call?.consumed(whole.length);
      if (declared === null) returned.push(["content-length", String(whole.length)]);
      return new Response(whole, initOf(status, returned));
    }
    this.#body = createAnswerBody(
      {
        consumed: (bytes) => this.call?.consumed(bytes),
        visitorGone: () => this.call?.cancel("the visitor went away"),
      },
      this.#chunks,
    );
    this.#chunks = [];
    return new Response(this.#body.stream(plainLength(declared)), initOf(status, returned));
  }

  #returned(fields: HeaderList): [name: string, value: string][] {
    const { visit, trace, software } = this.#asked;
    const { requestId, withoutCookies } = visit;
    const returned = returnedFields(fields, { requestId, withoutCookies });
    if (trace && this.#about !== null)
      for (const [name, value] of traceFields(this.#about, software)) returned.push([name, value]);
    if (!withoutCookies || this.#socket !== null) return returned;
    // A host that tenants share: no page of a target is of its origin (D16).
    const kept = returned.filter(([name]) => name.toLowerCase() !== "x-content-type-options");
    kept.push(["content-security-policy", "sandbox"], ["x-content-type-options", "nosniff"]);
    return kept;
  }
}

const SETTLED = Promise.resolve();

/** "manual": an encoded body goes through as the target encoded it. */
const initOf = (status: number, fields: HeaderList): ResponseInit => ({
  status,
  headers: headersOf(fields),
  encodeBody: "manual",
});

/** A plain object is what this runtime takes fastest; names that come twice need more. */
function headersOf(fields: HeaderList): Record<string, string> | Headers {
  const once: Record<string, string> = Object.create(null);
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    if (lower in once) return new Headers(fields.map(([each, octets]): [string, string] => [each, textOf(octets)]));
    once[lower] = textOf(value);
  }
  return once;
}

function valueOf(fields: HeaderList, wanted: string): string | null {
  for (const [name, value] of fields) if (name.length === wanted.length && name.toLowerCase() === wanted) return value;
  return null;
}

/** Only a plain number: a target may say anything. */
const plainLength = (text: string | null): number | null =>
  text !== null && /^[0-9]{1,15}$/.test(text) ? Number(text) : null;
