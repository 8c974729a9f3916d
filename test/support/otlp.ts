import { createServer, type IncomingHttpHeaders } from "node:http";
import { z } from "zod";
import { listenOnLoopback } from "./listen.ts";

/**
 * An ExportTraceServiceRequest in OTLP's JSON encoding, by opentelemetry/proto/trace/v1/trace.proto (1.9): nothing may be there that is not in
 * it, ids are hexadecimal, 64-bit numbers are text.
 */
const nanoseconds = z.string().regex(/^[0-9]{19}$/);
const traceId = z.string().regex(/^(?!0{32})[0-9a-f]{32}$/);
const spanId = z.string().regex(/^(?!0{16})[0-9a-f]{16}$/);
const value = z.union([
  z.strictObject({ stringValue: z.string() }),
  z.strictObject({ boolValue: z.boolean() }),
  z.strictObject({ intValue: z.string().regex(/^-?[0-9]+$/) }),
  z.strictObject({ doubleValue: z.number() }),
]);
const attributes = z
  .array(z.strictObject({ key: z.string().min(1), value }))
  .refine((list) => new Set(list.map(({ key }) => key)).size === list.length, "attribute keys are unique");
const span = z.strictObject({
  traceId,
  spanId,
  parentSpanId: spanId.optional(),
  flags: z.number().int().min(0).max(0xffff_ffff),
  name: z.string().min(1),
  kind: z.number().int().min(0).max(5),
  startTimeUnixNano: nanoseconds,
  endTimeUnixNano: nanoseconds,
  attributes,
  events: z.array(z.strictObject({ timeUnixNano: nanoseconds, name: z.string().min(1), attributes })),
  status: z.strictObject({ code: z.number().int().min(0).max(2).optional() }),
});
export const exportTraceServiceRequest = z.strictObject({
  resourceSpans: z.array(
    z.strictObject({
      resource: z.strictObject({ attributes }),
      scopeSpans: z.array(z.strictObject({ scope: z.strictObject({ name: z.string() }), spans: z.array(span) })),
    }),
  ),
});

/** A span as tests look at it: attributes as plain values, ints as text. */
export interface ReceivedSpan {
  readonly service: string;
  readonly part: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly kind: number;
  readonly isError: boolean;
  readonly durationMs: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly events: readonly string[];
}

export interface OtlpReceiver {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  /** Of what came and was right; anything else is in `faults`. */
  readonly spans: readonly ReceivedSpan[];
  readonly faults: readonly string[];
  readonly requests: readonly { readonly path: string; readonly headers: IncomingHttpHeaders }[];
  ofTrace(traceId: string): readonly ReceivedSpan[];
  close(): void;
}

const plain = (list: z.infer<typeof attributes>): Record<string, string | number | boolean> =>
  Object.fromEntries(list.map(({ key, value: said }) => [key, Object.values(said)[0] ?? ""]));

/** A collector's OTLP/HTTP endpoint on loopback. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const faults: string[] = [];
  const requests: { path: string; headers: IncomingHttpHeaders }[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (part: string) => (body += part));
    request.on("end", () => {
      requests.push({ path: request.url ?? "", headers: request.headers });
      const parsed = exportTraceServiceRequest.safeParse(JSON.parse(body));
      if (parsed.success) take(parsed.data);
      else faults.push(parsed.error.message);
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  const take = ({ resourceSpans }: z.infer<typeof exportTraceServiceRequest>): void => {
    for (const { resource, scopeSpans } of resourceSpans) {
      const about = plain(resource.attributes);
      for (const one of scopeSpans.flatMap(({ spans: list }) => list)) {
        spans.push({
          service: String(about["service.name"]),
          part: String(about["causeway.part"]),
          traceId: one.traceId,
          spanId: one.spanId,
          parentSpanId: one.parentSpanId,
          name: one.name,
          kind: one.kind,
          isError: one.status.code === 2,
          durationMs: Number(BigInt(one.endTimeUnixNano) - BigInt(one.startTimeUnixNano)) / 1e6,
          attributes: plain(one.attributes),
          events: one.events.map(({ name }) => name),
        });
      }
    }
  };
  const port = await listenOnLoopback(server);
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    faults,
    requests,
    ofTrace: (id) => spans.filter((one) => one.traceId === id),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
