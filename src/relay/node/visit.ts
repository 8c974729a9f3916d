import { randomBytes, randomFillSync } from "node:crypto";
import type { Exchange, HeaderList } from "../../http1/types.ts";
import { isTraceparent, newTraceparent } from "../../policy/headers.ts";
import { problemParts } from "../../policy/problem-response.ts";
import { newId } from "../../shared/ids.ts";
import type { ErrorCode } from "../../shared/problem.ts";
import { spanMethod } from "../../shared/tracing/http-span.ts";
import type { Span } from "../../shared/tracing/span.ts";
import type { Tracer } from "../../shared/tracing/tracer.ts";

/** One visitor's request on its way through this process. */
export interface Visit {
  readonly requestId: string;
  /** For the next hop. */
  readonly traceparent: string;
  /** Null: not sampled. */
  readonly span: Span | null;
  readonly clientAddress: string | null;
  readonly scheme: "http" | "https";
  readonly startedMs: number;
  /** The other lane's process sent it here: it is not sent back. */
  readonly fromPeer: boolean;
  /** For the access log, filled on the way. */
  readonly seen: {
    tenant: string | null;
    target: string | null;
    lane: string | null;
    connector: string | null;
    status: number | null;
    code: string | null;
    bytesUp: number;
    bytesDown: number;
  };
}

const POOL_BYTES = 8 * 1024;
const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

/** Cryptographic random bytes by the piece: a call into the system for each id would cost more than all else of it. */
export function pooledRandom(bytes: Uint8Array): void {
  if (used + bytes.length > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  // A view for `set` would cost more than so few bytes.
  for (let at = 0; at < bytes.length; at++) bytes[at] = pool[used++] ?? 0;
}

let hex = "";
let usedDigits = 0;

/** The same as digits, made many at a time. */
function pooledHex(digits: number): string {
  if (usedDigits + digits > hex.length) {
    hex = randomBytes(POOL_BYTES).toString("hex");
    usedDigits = 0;
  }
  usedDigits += digits;
  return hex.slice(usedDigits - digits, usedDigits);
}

export function newVisit(
  exchange: Exchange,
  about: Pick<Visit, "clientAddress" | "scheme" | "startedMs"> & {
    readonly peer: { requestId: string; traceparent: string } | null;
  },
  tracer: Tracer | null,
): Visit {
  const { clientAddress, scheme, startedMs, peer } = about;
  const { method, headers } = exchange.request;
  const { traceparent, span } =
    peer === null ? entered(tracer, headers, method) : passedOn(tracer, peer.traceparent, method);
  return {
    clientAddress,
    scheme,
    startedMs,
    fromPeer: peer !== null,
    requestId: peer?.requestId ?? newId("req", pooledRandom),
    traceparent,
    span,
    seen: {
      tenant: null,
      target: null,
      lane: null,
      connector: null,
      status: null,
      code: null,
      bytesUp: 0,
      bytesDown: 0,
    },
  };
}

type Traced = Pick<Visit, "traceparent" | "span">;

function entered(tracer: Tracer | null, headers: HeaderList, method: string): Traced {
  const inbound = headerOf(headers, "traceparent");
  const traceparent = inbound !== null && isTraceparent(inbound) ? inbound : newTraceparent(pooledHex(48));
  if (tracer === null) return { traceparent, span: null };
  return tracer.enter(traceparent, traceparent === inbound, spanMethod(method));
}

/** The other process has decided already. */
function passedOn(tracer: Tracer | null, traceparent: string, method: string): Traced {
  const span = tracer?.child(traceparent, "server", spanMethod(method)) ?? null;
  return { traceparent: span?.traceparent ?? traceparent, span };
}

/** Value of the first field of that name (in lower case), or null. */
export function headerOf(headers: HeaderList, name: string): string | null {
  for (const [field, value] of headers) if (field.length === name.length && field.toLowerCase() === name) return value;
  return null;
}

/** Answers with an error of ours, in the form that the client asked for. */
export function refuse(
  exchange: Exchange,
  visit: Visit,
  code: ErrorCode,
  detail: string,
  options: { readonly headers?: Readonly<Record<string, string>>; readonly status?: number } = {},
): void {
  const { headers, body, status } = problemParts(
    headerOf(exchange.request.headers, "accept"),
    code,
    detail,
    visit.requestId,
    options.headers,
  );
  visit.seen.status = options.status ?? status;
  visit.seen.code = code;
  exchange.respond(options.status ?? status, Object.entries(headers), body);
}
