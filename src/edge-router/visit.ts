import type { ParsedHost } from "../policy/host.ts";
import type { ErrorCode } from "../shared/problem.ts";
import { negotiatedProblem } from "../policy/problem-response.ts";

/** One request on its way through the edge, parsed once. */
export interface Visit {
  readonly request: Request;
  /** Null also for that of a GET or HEAD that is declared to have no bytes: the runtime would not take even this one. */
  readonly body: ReadableStream<Uint8Array> | null;
  readonly requestId: string;
  readonly traceparent: string;
  readonly parsedHost: ParsedHost;
  /** As the visitor typed it, with port. */
  readonly hostWithPort: string;
  readonly scheme: "http" | "https";
  /** Percent-encoded as in the request line, without query. */
  readonly rawPath: string;
  /** With its "?", or empty. */
  readonly rawQuery: string;
  readonly clientAddress: string | null;
  readonly isWebSocket: boolean;
  readonly waitUntil: (work: Promise<unknown>) => void;
  /** Who and what the request belongs to, for the access log; filled on the way. */
  readonly seen: {
    tenantId?: string;
    tenant?: string;
    node?: string;
    route?: string;
    target?: string;
    lane?: string;
    account?: string;
    directory?: string;
  };
}

/** The parts of a URL as it came, without the normalisation of a URL object. */
export function splitUrl(url: string): { authority: string; rawPath: string; rawQuery: string } {
  const afterScheme = url.indexOf("://") + 3;
  const pathAt = firstOf(url, afterScheme, "/?#");
  const hashAt = firstOf(url, pathAt, "#");
  const queryAt = Math.min(firstOf(url, pathAt, "?"), hashAt);
  return {
    authority: url.slice(afterScheme, pathAt),
    rawPath: url.slice(pathAt, queryAt) || "/",
    rawQuery: url.slice(queryAt, hashAt),
  };
}

function firstOf(text: string, from: number, characters: string): number {
  for (let at = from; at < text.length; at++) if (characters.includes(text.charAt(at))) return at;
  return text.length;
}

/** An error of ours for this visit. */
export function refuse(
  visit: Pick<Visit, "request" | "requestId">,
  code: ErrorCode,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return negotiatedProblem(visit.request, code, detail, visit.requestId, headers);
}
