import { Readable } from "node:stream";
import { Pool, type Dispatcher } from "undici";
import type { AnswerHead, ClientCall, ClientHandler, OriginClientOptions } from "../../http1/client-types.ts";
import { failureOf } from "./target-errors.ts";
import { headerPairs, valuesOf } from "./target-headers.ts";
import type { OriginPort, OriginRequest } from "./origin-client.ts";

/** The way back: undici behind the contract of our own client (src/http1/client-types.ts). Trailers of requests are not sent. */
export function createUndiciClient({ origin, tls, lookup, limits, timeouts }: OriginClientOptions): OriginPort {
  const pool = new Pool(origin.origin, {
    connections: limits?.sockets ?? null,
    pipelining: 1,
    ...(limits?.headBytes === undefined ? {} : { maxHeaderSize: limits.headBytes }),
    bodyTimeout: timeouts?.bodyIdleMs ?? 0,
    connect: {
      allowH2: false,
      ...(timeouts?.connectMs === undefined ? {} : { timeout: timeouts.connectMs }),
      ...(lookup === undefined ? {} : { lookup }),
      ...tlsOptions(tls),
    },
  });
  return {
    dispatch: (request, handler) => startCall(pool, request, handler, timeouts?.headMs),
    async close(graceMs) {
      if (graceMs <= 0) return await pool.destroy();
      const timer = setTimeout(() => void pool.destroy(), graceMs);
      timer.unref();
      await pool.close();
      clearTimeout(timer);
    },
  };
}

/** Node's options that undici's own type knows too. */
function tlsOptions(tls: OriginClientOptions["tls"]): Pick<NonNullable<typeof tls>, "ca" | "cert" | "key"> {
  return tls ?? {};
}

/** Methods that may be sent twice (RFC 9110, section 9.2.2), here without a body: one more try on a new connection. */
const REPEATABLE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

function startCall(
  pool: Pool,
  request: OriginRequest,
  handler: ClientHandler,
  defaultHeadMs: number | undefined,
): ClientCall {
  const { body } = request;
  const source = body === "chunked" || typeof body === "number" ? bodySource(handler) : null;
  let control: Dispatcher.DispatchController | null = null;
  let over = false;
  let aborted = false;
  let headSeen = false;
  let repeatable = source === null && REPEATABLE.has(request.method);

  const fail = (thrown: unknown): void => {
    if (over) return;
    const failure = failureOf(thrown, headSeen);
    if (repeatable && failure.kind === "reset-before-head" && failure.code !== "unknown") {
      repeatable = false;
      return send();
    }
    over = true;
    source?.readable.destroy();
    if (!aborted) handler.failed(failure);
  };
  const events: Dispatcher.DispatchHandler = {
    onRequestStart(controller) {
      control = controller;
      if (aborted) controller.abort(new Error("aborted"));
    },
    onResponseStart(controller, status) {
      if (over) return;
      const headers = headerPairs(rawList(controller.rawHeaders));
      if (status < 200) return handler.interim?.(status, headers);
      headSeen = true;
      const [length] = valuesOf(headers, "content-length");
      const bodyBytes = length === undefined ? null : Number(length);
      const head: AnswerHead = { status, headers, bodyBytes };
      const complete = request.method === "HEAD" || status === 204 || status === 304 || bodyBytes === 0;
      handler.head(head, complete);
    },
    onResponseData(_controller, chunk) {
      if (!over) handler.data(chunk);
    },
    onResponseEnd(controller) {
      if (over) return;
      over = true;
      handler.end(headerPairs(rawList(controller.rawTrailers)));
    },
    onResponseError(_controller, error) {
      fail(error);
    },
    onBodySent(chunk) {
      if (source !== null && !over) handler.sent?.(chunk.length);
    },
  };

  const flat = request.headers.flat();
  if (typeof body === "number") flat.push("content-length", String(body));
  const content =
    body instanceof Uint8Array ? Buffer.from(body.buffer, body.byteOffset, body.length) : (source?.readable ?? null);
  const headersTimeout = request.headTimeoutMs ?? defaultHeadMs ?? null;
  function send(): void {
    const { path, method } = request;
    try {
      pool.dispatch({ path, method, headers: flat, body: content, headersTimeout }, events);
    } catch (error) {
      queueMicrotask(() => fail(error));
    }
  }
  send();
  return {
    get closed() {
      return over;
    },
    write(bytes) {
      return !over && source !== null && source.readable.push(bytes);
    },
    end() {
      if (!over) source?.readable.push(null);
    },
    pause: () => control?.pause(),
    resume: () => control?.resume(),
    abort() {
      if (over) return;
      aborted = true;
      over = true;
      source?.readable.destroy();
      control?.abort(new Error("aborted"));
    },
  };
}

function bodySource(handler: ClientHandler): { readonly readable: Readable } {
  const readable = new Readable({ read: () => handler.writable?.() });
  readable.on("error", () => undefined); // the handler hears of it
  return { readable };
}

const NOTHING: readonly string[] = [];
const rawList = (raw: Dispatcher.DispatchController["rawHeaders"]): readonly (Uint8Array | string)[] =>
  Array.isArray(raw) ? raw : NOTHING;
