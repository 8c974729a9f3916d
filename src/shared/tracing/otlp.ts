import type { Attributes, AttributeValue, EndedSpan, SpanKind } from "./span.ts";

/** opentelemetry.proto.trace.v1.Span.SpanKind */
const KINDS: Readonly<Record<SpanKind, number>> = { internal: 1, server: 2, client: 3 };
/** opentelemetry.proto.trace.v1.Status.StatusCode */
const STATUS_ERROR = 2;
/** opentelemetry.proto.trace.v1.SpanFlags: the lowest byte is W3C's, here "sampled". */
const SAMPLED = 1;

/**
 * An ExportTraceServiceRequest as OTLP's JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids in hexadecimal, 64-bit
 * numbers as text, enumerations as numbers, names in lowerCamelCase.
 */
export function encodeTraces(resource: Readonly<Attributes>, spans: readonly EndedSpan[]): string {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: encodeAttributes(resource) },
        scopeSpans: [{ scope: { name: "causeway" }, spans: spans.map(encodeSpan) }],
      },
    ],
  });
}

function encodeSpan(span: EndedSpan): object {
  const { traceId, spanId, parentSpanId, kind, name, startMs, endMs, attributes, events, isError } = span;
  return {
    traceId,
    spanId,
    ...(parentSpanId === "" ? {} : { parentSpanId }),
    flags: SAMPLED,
    name,
    kind: KINDS[kind],
    startTimeUnixNano: nanoseconds(startMs),
    endTimeUnixNano: nanoseconds(endMs),
    attributes: encodeAttributes(attributes),
    events: events.map((event) => ({
      timeUnixNano: nanoseconds(event.atMs),
      name: event.name,
      attributes: encodeAttributes(event.attributes),
    })),
    status: isError ? { code: STATUS_ERROR } : {},
  };
}

const encodeAttributes = (attributes: Readonly<Attributes>): { key: string; value: object }[] =>
  Object.entries(attributes).map(([key, value]) => ({ key, value: encodeValue(value) }));

function encodeValue(value: AttributeValue): object {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

/** Above 2^53, so not by multiplication; a microsecond is as exact as the clocks are. */
const nanoseconds = (ms: number): string => `${Math.round(ms * 1_000)}000`;
