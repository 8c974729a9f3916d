import { createExporter, type ExporterPorts, type Keep, type SpanCounts } from "./exporter.ts";
import { LIMITS } from "./limits.ts";
import { isChildSampled, isInRatio } from "./sampler.ts";
import { readTraceSettings, type TraceEnv, type TraceSettings } from "./settings.ts";
import { startSpan, type Span, type SpanKind } from "./span.ts";
import { parseTraceparent, saysSampled } from "./traceparent.ts";

/** Records and exports the spans of one process or isolate. Where traces are off there is none, and callers hold null. */
export interface Tracer {
  /**
   * A visitor's request at our front. `traceparent`: valid; `isInbound`: the visitor sent it, otherwise it was made here. What goes on is the
   * answer's `traceparent`, also where nothing is recorded.
   */
  enter(
    traceparent: string,
    isInbound: boolean,
    name: string,
  ): { readonly traceparent: string; readonly span: Span | null };
  /** A hop behind our front. Null: not sampled, and the traceparent goes on as it came. */
  child(traceparent: string, kind: SpanKind, name: string): Span | null;
  readonly counts: SpanCounts;
  /** Sends what waits, for at most two seconds. */
  shutdown(): Promise<void>;
}

export interface TracerPorts extends ExporterPorts {
  /** Milliseconds since the epoch, with fractions where the platform has them. */
  readonly now: () => number;
  /** In [0, 1). Ids of spans are unique, not secret. */
  readonly random: () => number;
  /** For spans whose end names no other. */
  readonly keep: Keep;
}

/** Null: no endpoint is set. Warnings go to the log. */
export function tracerFrom(
  env: TraceEnv,
  about: Parameters<typeof readTraceSettings>[1],
  ports: TracerPorts,
): Tracer | null {
  const { settings, warnings } = readTraceSettings(env, about);
  for (const warning of warnings) ports.log.warn(warning);
  return settings === null ? null : createTracer(settings, ports);
}

export function createTracer(settings: TraceSettings, ports: TracerPorts): Tracer {
  const { sampling, trustsVisitors } = settings;
  const { now, random } = ports;
  const exporter = createExporter(settings, ports);
  const spanPorts = {
    now,
    ended: (span: Parameters<typeof exporter.add>[0], keep: Keep | undefined) => exporter.add(span, keep ?? ports.keep),
  };
  const newSpanId = (): string => {
    const id = hex32(random()) + hex32(random());
    return /^0+$/.test(id) ? "0000000000000001" : id; // all zeros is no id
  };

  return {
    enter(traceparent, isInbound, name) {
      const parent = parseTraceparent(traceparent);
      if (parent === null) return { traceparent, span: null };
      const { traceId } = parent;
      const trusted = isInbound && trustsVisitors;
      // An id that the visitor chose decides nothing, or anybody could have all that he asks for recorded.
      const isSampled = trusted
        ? isChildSampled(parent, sampling)
        : isInbound
          ? random() < sampling.ratio
          : isInRatio(traceId, sampling.ratio);
      if (isSampled) {
        const ids = { traceId, spanId: newSpanId(), parentSpanId: isInbound ? parent.spanId : "" };
        const span = startSpan(ids, "server", name, spanPorts);
        return { traceparent: span.traceparent, span };
      }
      // What follows must not record the rest of a trace that we do not. Another flag wants another parent (W3C, section 3.2.2.5).
      if (!parent.isSampled) return { traceparent, span: null };
      return { traceparent: `00-${traceId}-${newSpanId()}-00`, span: null };
    },
    child(traceparent, kind, name) {
      // The usual case first.
      if (sampling.isParentBased && !saysSampled(traceparent)) return null;
      const parent = parseTraceparent(traceparent);
      if (parent === null || !isChildSampled(parent, sampling)) return null;
      const ids = { traceId: parent.traceId, spanId: newSpanId(), parentSpanId: parent.spanId };
      return startSpan(ids, kind, name, spanPorts);
    },
    counts: exporter.counts,
    shutdown: () => exporter.flush(LIMITS.shutdownMs),
  };
}

const hex32 = (random: number): string =>
  Math.floor(random * 2 ** 32)
    .toString(16)
    .padStart(8, "0");
