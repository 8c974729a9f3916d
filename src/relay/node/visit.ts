import { randomFillSync } from "node:crypto";
import type { Exchange, HeaderList } from "../../http1/types.ts";
import { continueTrace } from "../../policy/headers.ts";
import { problemParts } from "../../policy/problem-response.ts";
import { newId } from "../../shared/ids.ts";
import type { ErrorCode } from "../../shared/problem.ts";

/** One visitor's request on its way through this process. */
export interface Visit {
  readonly requestId: string;
  readonly traceparent: string;
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

export function newVisit(
  exchange: Exchange,
  about: Pick<Visit, "clientAddress" | "scheme" | "startedMs"> & {
    readonly peer: { requestId: string; traceparent: string } | null;
  },
): Visit {
  const { peer, ...rest } = about;
  return {
    ...rest,
    fromPeer: peer !== null,
    requestId: peer?.requestId ?? newId("req", pooledRandom),
    traceparent: peer?.traceparent ?? continueTrace(headerOf(exchange.request.headers, "traceparent"), pooledRandom),
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
