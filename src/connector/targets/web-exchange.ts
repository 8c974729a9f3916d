import type { ClientCall, ClientFailure, ClientHandler } from "../../http1/client-types.ts";
import type { HeaderList, OpenRequest, Stream, StreamEvents } from "../../protocol/tunnel/session.ts";
import type { Logger } from "../../shared/log.ts";
import { REDIRECT_BODY_BYTES } from "../limits.ts";
import { createCopies } from "./bulk-copies.ts";
import { applyRules, type CompiledRules } from "./header-rules.ts";
import { rewriteForVisitor } from "./locations.ts";
import type { OriginPort } from "./origin-client.ts";
import { redirected, withoutBodyFields, type Redirected } from "./redirects.ts";
import type { WebTargetConfig } from "./target-config.ts";
import { targetReset } from "./target-errors.ts";
import { targetResponseHeaders, valuesOf } from "./target-headers.ts";

export interface WebOrigin {
  readonly config: WebTargetConfig;
  readonly client: OriginPort;
  readonly responseRules: CompiledRules | null;
  readonly log: Logger;
}

/** The request as the target gets it. */
export interface TargetRequest {
  readonly path: string;
  readonly headers: HeaderList;
  /** Of the body that follows; null when it is not known. */
  readonly contentLength: number | null;
}

/** Methods whose request says that it is empty (RFC 9110, section 8.6). */
const WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);
const EMPTY = new Uint8Array(0);

/**
 * One request to a web target and its answer. Bytes go through as they are; back-pressure is the tunnel's credit one way and pause/resume
 * of the client the other. What has come of the body when this turn of the loop ends goes out as one piece: small requests cost no stream.
 */
export function createWebExchange(
  origin: WebOrigin,
  stream: Stream,
  request: OpenRequest,
  first: TargetRequest,
): StreamEvents {
  const { config, client, log } = origin;
  const { name } = config;
  const deadlineIsNearer = request.deadlineMs > 0 && request.deadlineMs < config.timeoutMs;
  const timeoutMs = deadlineIsNearer ? request.deadlineMs : config.timeoutMs;
  const copies = createCopies(stream);
  let { method } = request;
  let { path, headers } = first;
  let call: ClientCall | null = null;
  let answered = false; // the final head is out
  let ended = false; // and so is its end
  let tries = 0;
  let hops = 0;
  let next: Redirected | null = null; // where the answer that is being thrown away leads
  let thrownAway = 0;
  let early: Uint8Array[] | null = request.end ? null : []; // what came before the request was sent
  let complete = request.end;
  let trailers: HeaderList = [];
  /** A body that can be sent again, or that it is not so. */
  let kept: Uint8Array | "none" | "gone" = "none";
  let startBy: NodeJS.Timeout | null = null;

  const reset = (failure: ClientFailure): void => {
    const { kind, code, message } = failure;
    log.warn("request to the target failed", { fault: kind, code, reason: message });
    if (kind === "head-timeout" && deadlineIsNearer) {
      stream.reset("deadline-exceeded", `target "${name}": no answer within ${timeoutMs} ms`);
      return;
    }
    const { reason, text } = targetReset(name, failure, timeoutMs);
    stream.reset(reason, text);
  };

  const follow = (): void => {
    if (next === null) return;
    const { keepBody } = next;
    ({ method, path } = next);
    next = null;
    if (!keepBody) {
      kept = "none";
      headers = withoutBodyFields(headers);
    }
    hops += 1;
    tries = 0;
    send(kept === "gone" ? "none" : kept);
  };

  const handler: ClientHandler = {
    interim(status, fields) {
      // 100 is between the hops: whoever asked for it has had it from the edge.
      if (next === null && status !== 100) stream.interim({ status, headers: targetResponseHeaders(fields) });
    },
    head(head, isComplete) {
      noteStart();
      if (config.followRedirects > hops && complete && head.status >= 300 && head.status < 400) {
        const [location = null] = valuesOf(head.headers, "location");
        const body = kept === "none" || kept === "gone" ? kept : "kept";
        next = redirected({ method, path, body }, head.status, location, config.url);
        if (next !== null) return;
      }
      answered = true;
      ended = isComplete;
      const fields = rewriteForVisitor(config, request.headers, targetResponseHeaders(head.headers));
      stream.respond({ status: head.status, headers: applyRules(origin.responseRules, fields) }, isComplete);
    },
    data(bytes) {
      if (next !== null) {
        thrownAway += bytes.length;
        if (thrownAway <= REDIRECT_BODY_BYTES) return;
        call?.abort();
        return follow();
      }
      if (stream.write(copies.copy(bytes)) <= 0) call?.pause();
    },
    end(fields) {
      if (next !== null) return follow();
      if (!ended) stream.end(fields.length === 0 ? fields : targetResponseHeaders(fields));
      if (!complete) stream.stopReceiving();
      complete = true;
    },
    sent(bytes) {
      noteStart();
      if (kept === "gone") stream.consumed(bytes);
    },
    failed(failure) {
      if (stream.closed) return;
      const replayable = kept !== "gone" && !answered && next === null;
      // The client repeats what is safe to repeat; here what never reached the target, whatever its method.
      if (failure.kind === "reset-before-head" && !failure.sent && replayable && tries < 2) {
        return send(kept === "gone" ? "none" : kept);
      }
      noteStart();
      reset(failure);
    },
  };

  const noteStart = (): void => {
    if (startBy !== null) clearTimeout(startBy);
    startBy = null;
  };

  const send = (body: Uint8Array | "none" | "chunked" | number): void => {
    tries += 1;
    const content = body === "none" && WITH_BODY.has(method) ? EMPTY : body;
    call = client.dispatch({ method, path, headers, body: content, headTimeoutMs: timeoutMs }, handler);
  };

  /** The rest of the turn's bytes have come: a whole body is one piece, another one a stream that goes on. */
  const sendBody = (): void => {
    const parts = early ?? [];
    early = null;
    if (stream.closed) return;
    const declared = first.contentLength;
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    if (complete && trailers.length === 0 && (declared === null || declared === bytes)) {
      const [only] = parts;
      kept = bytes === 0 ? "none" : parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
      send(kept);
      stream.consumed(bytes);
      return;
    }
    kept = "gone";
    send(trailers.length > 0 ? "chunked" : (declared ?? "chunked"));
    for (const part of parts) call?.write(part);
    if (complete) call?.end(trailers);
  };

  // A connection that comes late must not start work that nobody waits for any more.
  if (request.deadlineMs > 0 && request.deadlineMs <= config.connectTimeoutMs) {
    startBy = setTimeout(() => {
      call?.abort();
      stream.reset("deadline-exceeded", `target "${name}": no answer within ${request.deadlineMs} ms`);
    }, request.deadlineMs);
  }
  if (request.end) send("none");
  else queueMicrotask(sendBody);

  return {
    data(bytes) {
      if (early !== null) early.push(bytes);
      else if (call !== null && !call.closed) call.write(bytes);
      else stream.consumed(bytes.length); // nobody takes it any more
    },
    end(fields) {
      complete = true;
      trailers = fields;
      if (early === null && call !== null && !call.closed) call.end(fields);
    },
    writable() {
      copies.settle();
      call?.resume();
    },
    closed(outcome) {
      noteStart();
      copies.settle();
      if (outcome.kind !== "finished") call?.abort();
    },
  };
}
