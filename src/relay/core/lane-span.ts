import { ATTRIBUTE, describeRequest, endHttpSpan, spanMethod } from "../../shared/tracing/http-span.ts";
import { withTraceparent } from "../../shared/tracing/traceparent.ts";
import type { Tracer } from "../../shared/tracing/tracer.ts";
import type { BrokerRequest } from "./types.ts";

/**
 * The request with a span of the lane around it, from here until the visitor has taken the last byte; what goes on has this span as parent.
 * The same request where nothing is recorded, which costs a look at one character.
 */
export function withLaneSpan(
  tracer: Tracer | null,
  request: BrokerRequest,
  about: { readonly traceparent: string; readonly tenant: string; readonly lane: "a" | "b" },
): BrokerRequest {
  const { method } = request;
  const span = tracer?.child(about.traceparent, "client", `${spanMethod(method)} ${request.target}`) ?? null;
  if (span === null) return request;
  describeRequest(span, method, request.path);
  // The control plane may not have said it yet.
  if (about.tenant !== "") span.set(ATTRIBUTE.tenant, about.tenant);
  span.set(ATTRIBUTE.target, request.target);
  span.set(ATTRIBUTE.lane, about.lane);
  span.set(ATTRIBUTE.requestId, request.requestId);
  let asked = 0;
  return {
    ...request,
    headers: withTraceparent(request.headers, span.traceparent),
    watch: {
      asked({ connectorId, connector, instanceId }, lastCode) {
        asked += 1;
        span.set(ATTRIBUTE.connectorId, connectorId);
        span.set(ATTRIBUTE.connector, connector);
        span.set(ATTRIBUTE.instance, instanceId);
        if (asked === 1) return;
        span.set(ATTRIBUTE.resends, asked - 1);
        const after: Record<string, string> = lastCode === null ? {} : { [ATTRIBUTE.error]: lastCode };
        span.event("causeway.retry", {
          ...after,
          [ATTRIBUTE.connectorId]: connectorId,
          [ATTRIBUTE.instance]: instanceId,
        });
      },
      ended: ({ status, code }) => endHttpSpan(span, "client", status, code),
    },
  };
}
