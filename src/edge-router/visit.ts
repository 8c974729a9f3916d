import type { ParsedHost } from "../policy/host.ts";
import type { SessionClaims } from "../protocol/portal-rpc.ts";
import { problemPage } from "../policy/error-page.ts";
import { prefersHtml } from "../policy/negotiate.ts";
import { negotiatedProblem } from "../policy/problem-response.ts";
import { problem, type ErrorCode } from "../shared/problem.ts";
import type { Span } from "../shared/tracing/span.ts";

/** One request on its way through the edge, parsed once. */
export interface Visit {
  readonly request: Request;
  readonly method: string;
  /** Null also for that of a GET or HEAD that is declared to have no bytes: the runtime would not take even this one. */
  readonly body: ReadableStream<Uint8Array> | null;
  readonly requestId: string;
  /** For the next hop. */
  readonly traceparent: string;
  /** Null: not sampled. */
  readonly span: Span | null;
  readonly parsedHost: ParsedHost;
  /** Why the Host header is refused; null: it is not. */
  readonly hostProblem: string | null;
  /** As the visitor typed it, with port. */
  readonly hostWithPort: string;
  readonly scheme: "http" | "https";
  /** Percent-encoded as in the request line, without query. */
  readonly rawPath: string;
  /** With its "?", or empty. */
  readonly rawQuery: string;
  readonly clientAddress: string | null;
  /** In two capital letters; null: not known. */
  readonly country: () => string | null;
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** What is known of the visitor's session; filled on the way. */
  readonly session: {
    /** By the cookie's signature. Undefined: nobody has looked yet. */
    proven?: SessionClaims | null;
    renewal?: Promise<{ readonly token: string; readonly expiresAtSeconds: number } | null>;
  };
  /** Who and what the request belongs to, for the access log; filled on the way. */
  readonly seen: {
    tenantId?: string;
    tenant?: string;
    node?: string;
    route?: string;
    target?: string;
    lane?: string;
    account?: string;
    serviceToken?: string;
    /** Until node or lane had answered with a head. */
    upstreamMs?: number;
    directory?: string;
  };
}

/** The parts of a URL as it came, without the normalisation of a URL object. */
export function splitUrl(url: string): { authority: string; rawPath: string; rawQuery: string } {
  const afterScheme = url.indexOf("://") + 3;
  const hashAt = indexOr(url, "#", afterScheme, url.length);
  const queryAt = indexOr(url, "?", afterScheme, hashAt);
  const pathAt = indexOr(url, "/", afterScheme, queryAt);
  return {
    authority: url.slice(afterScheme, pathAt),
    rawPath: url.slice(pathAt, queryAt) || "/",
    rawQuery: url.slice(queryAt, hashAt),
  };
}

/** Where the character first is, or `end` when that is not before it. */
function indexOr(text: string, character: string, from: number, end: number): number {
  const at = text.indexOf(character, from);
  return at === -1 || at > end ? end : at;
}

/** An error of ours for this visit. `status`: only where it is not the code's own. */
export function refuse(
  visit: Pick<Visit, "request" | "requestId">,
  code: ErrorCode,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
  status?: number,
): Response {
  return negotiatedProblem(visit.request, code, detail, visit.requestId, headers, status);
}

/** The same with a button for people that leads to what helps. */
export function refuseWithRemedy(
  visit: Pick<Visit, "request" | "requestId">,
  code: ErrorCode,
  detail: string,
  remedy: { readonly href: string; readonly text: string },
): Response {
  const refusal = refuse(visit, code, detail);
  const { method, headers } = visit.request;
  if (method !== "GET" || !prefersHtml(headers.get("accept"))) return refusal;
  return new Response(problemPage(problem(code, detail, visit.requestId), remedy), refusal);
}
