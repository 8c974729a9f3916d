import type { OpenRequest, Stream, StreamEvents } from "../protocol/tunnel/session.ts";
import { HEADER } from "../protocol/headers.ts";
import { ATTRIBUTE, describeRequest, endHttpSpan, spanMethod } from "../shared/tracing/http-span.ts";
import type { Span } from "../shared/tracing/span.ts";
import { traceparentOf, withTraceparent } from "../shared/tracing/traceparent.ts";
import type { Tracer } from "../shared/tracing/tracer.ts";

export interface SpanAbout {
  readonly tenant: string;
  readonly connector: string | null;
  readonly instanceId: string;
  /** Address of a target that is a web server; null: of none that is one. */
  readonly urlOf: (target: string) => URL | null;
}

/** Goes between a target and its stream, as audit.ts does: a span around the leg to the target, which gets it as its parent. */
export type WatchSpan = (
  lane: string,
  stream: Stream,
  request: OpenRequest,
  serve: (request: OpenRequest) => StreamEvents,
) => StreamEvents;

export function createSpanWatch(tracer: Tracer | null, about: SpanAbout): WatchSpan {
  if (tracer === null) return (_lane, _stream, request, serve) => serve(request);
  return (lane, stream, request, serve) => {
    const parent = traceparentOf(request.headers);
    const { method, target } = request;
    const span = parent === null ? null : tracer.child(parent, "client", `${spanMethod(method)} ${target}`);
    if (span === null) return serve(request);
    describe(span, lane, request, about);

    let status: number | null = null;
    const respond = stream.respond.bind(stream);
    stream.respond = (head, end) => {
      ({ status } = head);
      respond(head, end);
    };
    const events = serve({ ...request, headers: withTraceparent(request.headers, span.traceparent) });
    if (stream.closed) {
      endHttpSpan(span, "client", status, status === null ? "refused" : null);
      return events;
    }
    const closed = events.closed?.bind(events);
    events.closed = (outcome) => {
      endHttpSpan(span, "client", status, outcome.kind === "reset" ? outcome.reason : null);
      closed?.(outcome);
    };
    return events;
  };
}

function describe(span: Span, lane: string, request: OpenRequest, about: SpanAbout): void {
  const { tenant, connector, instanceId, urlOf } = about;
  const { target, method, path, headers } = request;
  describeRequest(span, method, path);
  span.set(ATTRIBUTE.tenant, tenant);
  span.set(ATTRIBUTE.target, target);
  span.set(ATTRIBUTE.lane, lane);
  span.set(ATTRIBUTE.connector, connector);
  span.set(ATTRIBUTE.instance, instanceId);
  span.set(ATTRIBUTE.requestId, headers.find(([name]) => name.toLowerCase() === HEADER.requestId)?.[1]);
  const url = urlOf(target);
  if (url === null) return;
  const isSecure = url.protocol === "https:";
  span.set(ATTRIBUTE.scheme, isSecure ? "https" : "http");
  span.set(ATTRIBUTE.address, url.hostname);
  span.set(ATTRIBUTE.port, url.port === "" ? (isSecure ? 443 : 80) : Number(url.port));
}
