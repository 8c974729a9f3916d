/**
 * Errors of ours as RFC 9457 problem details. One table: code -> status and title. docs/errors.md lists the same codes with cause and
 * remedy (a test keeps the two in step). Every error response of ours carries the header `causeway-error: <code>`.
 */
export const PROBLEMS = {
  "bad-request": { status: 400, title: "The request is not valid" },
  unauthorized: { status: 401, title: "Sign-in or a valid token is needed" },
  forbidden: { status: 403, title: "Not allowed" },
  "not-found": { status: 404, title: "There is no such thing" },
  "unknown-host": { status: 404, title: "No tenant has this host" },
  "no-route": { status: 404, title: "No route of this tenant matches the path" },
  "unknown-target": { status: 404, title: "No connector of this tenant serves this target" },
  "method-not-allowed": { status: 405, title: "The method is not allowed here" },
  conflict: { status: 409, title: "It conflicts with what is there" },
  "precondition-failed": { status: 412, title: "It was changed by somebody else" },
  "body-too-large": { status: 413, title: "The body is too large" },
  "no-capacity": { status: 409, title: "No node has room for another tenant" },
  "rate-limited": { status: 429, title: "Too many requests" },
  "over-capacity": { status: 503, title: "The relay is at its limit for this tenant" },
  "internal-error": { status: 500, title: "Something went wrong on our side" },
  "no-grpc": { status: 501, title: "gRPC does not pass here" },
  "node-unreachable": { status: 502, title: "The tenant's node could not be reached" },
  "node-timeout": { status: 504, title: "The tenant's node did not answer in time" },
  "no-connector": { status: 503, title: "No connector of this tenant is online" },
  "target-refused": { status: 502, title: "The target refused the connection" },
  "target-unresolved": { status: 502, title: "The target's name could not be resolved" },
  "target-timeout": { status: 504, title: "The target did not answer in time" },
  "target-tls": { status: 502, title: "The TLS connection to the target failed" },
  "target-reset": { status: 502, title: "The target closed the connection early" },
  "connector-lost": { status: 502, title: "The connector went away while it worked on this request" },
  "deadline-exceeded": { status: 504, title: "The request's deadline has passed" },
  "tenant-suspended": { status: 503, title: "This tenant is suspended" },
  "tenant-not-ready": { status: 503, title: "This tenant is not ready yet" },
  "tenant-failed": { status: 503, title: "This tenant could not be set up" },
  maintenance: { status: 503, title: "This site is being worked on" },
  "not-available": { status: 503, title: "Not available right now" },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof PROBLEMS;

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly requestId: string;
}

/** `detail` is one sentence for people: what happened and what to do about it. No secrets. */
export function problem(code: ErrorCode, detail: string, requestId: string): Problem {
  const { status, title } = PROBLEMS[code];
  return { type: `https://causeway.dev/errors#${code}`, title, status, detail, code, requestId };
}

/** The problem as a response: `application/problem+json`, header `causeway-error`, never cached. `headers` are added (for example retry-after). */
export function problemResponse(p: Problem, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(p), {
    status: p.status,
    headers: {
      "content-type": "application/problem+json",
      "causeway-error": p.code,
      "causeway-request-id": p.requestId,
      "cache-control": "no-store",
      ...headers,
    },
  });
}
