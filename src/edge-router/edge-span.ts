import { HEADER } from "../protocol/headers.ts";
import { ATTRIBUTE, describeRequest, endHttpSpan, spanMethod } from "../shared/tracing/http-span.ts";
import type { Span } from "../shared/tracing/span.ts";
import type { Tracer } from "../shared/tracing/tracer.ts";
import type { Visit } from "./visit.ts";

/** Where the edge's span of a request begins, if it has one. `traceparent`: the visitor's, which is `inbound`, or a new one. */
export function enterTrace(
  tracer: Tracer | null,
  traceparent: string,
  inbound: string | null,
  method: string,
): { readonly traceparent: string; readonly span: Span | null } {
  if (tracer === null) return { traceparent, span: null };
  return tracer.enter(traceparent, traceparent === inbound, spanMethod(method));
}

/** Ends with the answer's head: its bytes go by without our code seeing them; the lane's span tells how long they took. */
export function endEdgeSpan(span: Span, visit: Visit, response: Response): void {
  const { seen, parsedHost, method } = visit;
  describeRequest(span, method, visit.rawPath);
  span.set(ATTRIBUTE.scheme, visit.scheme);
  if (parsedHost.kind !== "malformed") span.set(ATTRIBUTE.address, parsedHost.host);
  span.set(ATTRIBUTE.requestId, visit.requestId);
  span.set(ATTRIBUTE.tenant, seen.tenant);
  span.set(ATTRIBUTE.target, seen.target);
  span.set(ATTRIBUTE.lane, seen.lane);
  span.set(ATTRIBUTE.node, seen.node);
  if (seen.route?.startsWith("/") === true) {
    span.set(ATTRIBUTE.route, seen.route);
    span.name = `${span.name} ${seen.route}`;
  }
  const code = response.status < 400 ? null : response.headers.get(HEADER.error);
  endHttpSpan(span, "server", response.status, code, visit.waitUntil);
}
