import type { Span } from "./span.ts";

/** Names of attributes: those of OpenTelemetry's stable HTTP conventions (1.23 and later), and ours. */
export const ATTRIBUTE = {
  method: "http.request.method",
  originalMethod: "http.request.method_original",
  status: "http.response.status_code",
  route: "http.route",
  resends: "http.request.resend_count",
  path: "url.path",
  scheme: "url.scheme",
  address: "server.address",
  port: "server.port",
  error: "error.type",
  tenant: "causeway.tenant",
  target: "causeway.target",
  lane: "causeway.lane",
  node: "causeway.node",
  connectorId: "causeway.connector.id",
  connector: "causeway.connector.name",
  instance: "causeway.connector.instance",
  requestId: "causeway.request_id",
} as const;

/** Others are written `_OTHER`: names that visitors make up would be as many series. */
const KNOWN: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "CONNECT",
  "OPTIONS",
  "TRACE",
  "PATCH",
]);

export const spanMethod = (method: string): string => (KNOWN.has(method) ? method : "HTTP");

/** Method and path of a request; what follows a "?" never gets into a span, for it may hold secrets. */
export function describeRequest(span: Span, method: string, pathAndQuery: string): void {
  if (KNOWN.has(method)) span.set(ATTRIBUTE.method, method);
  else {
    span.set(ATTRIBUTE.method, "_OTHER");
    span.set(ATTRIBUTE.originalMethod, method);
  }
  const query = pathAndQuery.indexOf("?");
  span.set(ATTRIBUTE.path, query === -1 ? pathAndQuery : pathAndQuery.slice(0, query));
}

/**
 * Ends the span of a request. `code`: of an error of ours, or why it broke off. A server's span is an error from 500 on, a client's from 400
 * on (the conventions); an error of ours always has its code as error.type.
 */
export function endHttpSpan(
  span: Span,
  kind: "server" | "client",
  status: number | null,
  code: string | null,
  keep?: (work: Promise<void>) => void,
): void {
  if (status !== null) span.set(ATTRIBUTE.status, status);
  const isBadStatus = status !== null && status >= (kind === "server" ? 500 : 400);
  const isBroken = code !== null && (status === null || status < 400);
  const isError = isBadStatus || isBroken || (code !== null && kind === "client");
  if (code !== null) span.set(ATTRIBUTE.error, code);
  else if (isError) span.set(ATTRIBUTE.error, String(status));
  span.end(isError, keep);
}
