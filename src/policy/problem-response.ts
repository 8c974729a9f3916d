import { HEADER } from "../protocol/headers.ts";
import { problem, type ErrorCode } from "../shared/problem.ts";
import { PAGE_SECURITY_HEADERS, problemPage } from "./error-page.ts";
import { prefersHtml } from "./negotiate.ts";

export interface ProblemRequest {
  readonly method: string;
  readonly headers: Headers;
}

/** An error of ours as it goes over the wire, for hosts without Response. */
export interface ProblemParts {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * An error of ours in the form that the client asked for: HTML for browsers, problem+json (RFC 9457) otherwise; same status, code and
 * request id in both. `accept`: the request's field, null for none. `detail` is one sentence for people, without secrets.
 * `status`: only where it is not the code's own.
 */
export function problemParts(
  accept: string | null,
  code: ErrorCode,
  detail: string,
  requestId: string,
  headers: Readonly<Record<string, string>> = {},
  status?: number,
): ProblemParts {
  const usual = problem(code, detail, requestId);
  const details = status === undefined ? usual : { ...usual, status };
  const html = prefersHtml(accept);
  return {
    status: details.status,
    headers: {
      "content-type": html ? "text/html; charset=utf-8" : "application/problem+json",
      [HEADER.error]: code,
      [HEADER.requestId]: requestId,
      ...(html ? PAGE_SECURITY_HEADERS : { "cache-control": "no-store" }),
      // Caches that ignore no-store must at least keep the two forms apart.
      vary: "accept",
      ...headers,
    },
    body: html ? problemPage(details) : JSON.stringify(details),
  };
}

/** `problemParts` as a Response. */
export function negotiatedProblem(
  request: ProblemRequest,
  code: ErrorCode,
  detail: string,
  requestId: string,
  headers: Readonly<Record<string, string>> = {},
  status?: number,
): Response {
  const parts = problemParts(request.headers.get("accept"), code, detail, requestId, headers, status);
  return withoutBodyForHead(request, new Response(parts.body, parts));
}

function withoutBodyForHead(request: ProblemRequest, response: Response): Response {
  return request.method === "HEAD" ? new Response(null, response) : response;
}
