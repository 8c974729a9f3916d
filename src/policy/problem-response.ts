import { HEADER } from "../protocol/headers.ts";
import { problem, problemResponse, type ErrorCode } from "../shared/problem.ts";
import { PAGE_SECURITY_HEADERS, problemPage } from "./error-page.ts";
import { prefersHtml } from "./negotiate.ts";

export interface ProblemRequest {
  readonly method: string;
  readonly headers: Headers;
}

/**
 * An error of ours in the form that the client asked for: HTML for browsers, problem+json (RFC 9457) otherwise; same status, code and
 * request id in both. `detail` is one sentence for people, without secrets.
 */
export function negotiatedProblem(
  request: ProblemRequest,
  code: ErrorCode,
  detail: string,
  requestId: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const details = problem(code, detail, requestId);
  // Caches that ignore no-store must at least keep the two forms apart.
  const common = { vary: "accept", ...headers };
  if (!prefersHtml(request.headers.get("accept"))) {
    return withoutBodyForHead(request, problemResponse(details, common));
  }
  const page = new Response(problemPage(details), {
    status: details.status,
    headers: {
      "content-type": "text/html; charset=utf-8",
      [HEADER.error]: code,
      [HEADER.requestId]: requestId,
      ...PAGE_SECURITY_HEADERS,
      ...common,
    },
  });
  return withoutBodyForHead(request, page);
}

function withoutBodyForHead(request: ProblemRequest, response: Response): Response {
  return request.method === "HEAD" ? new Response(null, response) : response;
}
