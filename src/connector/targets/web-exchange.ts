import { Readable } from "node:stream";
import type { Dispatcher, Pool } from "undici";
import type { HeaderList, OpenRequest, Stream, StreamEvents } from "../../protocol/tunnel/session.ts";
import type { Logger } from "../../shared/log.ts";
import { networkError } from "../network-errors.ts";
import { targetReset } from "./target-errors.ts";
import { type RequestHeaders, targetResponseHeaders } from "./target-headers.ts";

export interface WebOrigin {
  readonly name: string;
  readonly pool: Pool;
  readonly timeoutMs: number;
  readonly log: Logger;
}

/** Methods that do nothing by being repeated and carry no body here: one more try on a new connection is safe (RFC 9110, section 9.2.2). */
const REPEATABLE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

class Cancelled extends Error {}

/**
 * One request to a web target and its answer. Bytes go through as they are; back-pressure is the tunnel's credit one way and pause/resume
 * of undici's parser the other. What has come of the body when this turn of the loop ends goes out as one piece: small requests cost no
 * stream.
 */
export function createWebExchange(
  origin: WebOrigin,
  stream: Stream,
  request: OpenRequest,
  path: string,
  headers: RequestHeaders,
): StreamEvents {
  const { name, pool, log } = origin;
  const deadlineIsNearer = request.deadlineMs > 0 && request.deadlineMs < origin.timeoutMs;
  const timeoutMs = deadlineIsNearer ? request.deadlineMs : origin.timeoutMs;
  let control: Dispatcher.DispatchController | null = null;
  let answered = false; // the final head is out
  let ended = false; // and so is its end
  let tries = 0;
  let early: Uint8Array[] | null = request.end ? null : []; // what came before the request was sent
  let complete = request.end;
  let body: Readable | null = null;

  const fail = (thrown: unknown): void => {
    if (stream.closed) return;
    const error = networkError(thrown);
    const repeatable = REPEATABLE.has(request.method) && request.end && !answered;
    if (repeatable && error.fault === "reset" && error.code !== "unknown" && tries < 2) return send(null);
    log.warn("request to the target failed", { fault: error.fault, code: error.code, reason: error.message });
    if (error.code === "UND_ERR_HEADERS_TIMEOUT" && deadlineIsNearer) {
      return stream.reset("deadline-exceeded", `target "${name}": no answer within ${timeoutMs} ms`);
    }
    if (error.code === "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH") {
      return stream.reset("protocol", "the body is not as long as its content-length says");
    }
    if (error.code === "UND_ERR_INVALID_ARG" || error.code === "UND_ERR_NOT_SUPPORTED") {
      return stream.reset("protocol", `the request can't be sent to target "${name}"`);
    }
    const { reason, text } = targetReset(name, error.fault);
    const limit = error.code === "UND_ERR_HEADERS_TIMEOUT" ? ` (${timeoutMs} ms)` : "";
    stream.reset(reason, text + limit);
  };

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(controller) {
      control = controller;
      if (stream.closed) controller.abort(new Cancelled());
    },
    onResponseStart(controller, status) {
      const fields = targetResponseHeaders(rawList(controller.rawHeaders));
      if (status < 200) return stream.interim({ status, headers: fields });
      answered = true;
      ended = request.method === "HEAD" || status === 204 || status === 304;
      stream.respond({ status, headers: fields }, ended);
    },
    onResponseData(controller, chunk) {
      if (stream.write(chunk) <= 0) controller.pause();
    },
    onResponseEnd(controller) {
      const trailers: HeaderList = targetResponseHeaders(rawList(controller.rawTrailers));
      if (!ended) stream.end(trailers);
      if (!complete) stream.stopReceiving();
      complete = true;
    },
    onResponseError(_controller, error) {
      fail(error);
    },
    onBodySent(chunk) {
      if (body !== null) stream.consumed(chunk.length);
    },
  };

  const send = (content: Buffer | Readable | null): void => {
    tries += 1;
    const flat = content instanceof Readable && headers.contentLength !== null ? lengthAdded(headers) : headers.flat;
    try {
      pool.dispatch({ path, method: request.method, headers: flat, body: content, headersTimeout: timeoutMs }, handler);
    } catch (error) {
      fail(error);
    }
  };

  /** The rest of the turn's bytes have come: a whole body is one buffer, another one a stream that goes on. */
  const sendBody = (): void => {
    const parts = early ?? [];
    early = null;
    if (stream.closed) return;
    const declared = headers.contentLength;
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    if (complete && (declared === null || declared === bytes)) {
      send(bytes === 0 ? null : Buffer.concat(parts));
      stream.consumed(bytes);
      return;
    }
    body = new Readable({ read: () => undefined });
    body.on("error", () => undefined); // the handler hears of it
    for (const part of parts) body.push(part);
    if (complete) body.push(null);
    send(body);
  };

  if (request.end) send(null);
  else queueMicrotask(sendBody);

  return {
    data(bytes) {
      if (early !== null) early.push(bytes);
      else if (body !== null && !body.destroyed) body.push(bytes);
      else stream.consumed(bytes.length); // nobody takes it any more
    },
    end() {
      complete = true;
      body?.push(null);
    },
    writable() {
      control?.resume();
    },
    closed(outcome) {
      if (outcome.kind === "finished") return;
      control?.abort(new Cancelled());
      body?.destroy();
    },
  };
}

const lengthAdded = ({ flat, contentLength }: RequestHeaders): string[] => [
  ...flat,
  "content-length",
  String(contentLength),
];

const NOTHING: readonly string[] = [];

function rawList(raw: Dispatcher.DispatchController["rawHeaders"]): readonly (Uint8Array | string)[] {
  return Array.isArray(raw) ? raw : NOTHING;
}
