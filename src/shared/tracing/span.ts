import { LIMITS } from "./limits.ts";

export type AttributeValue = string | number | boolean;
export type Attributes = Record<string, AttributeValue>;
export type SpanKind = "internal" | "server" | "client";

/** A span that ended, as it waits for export. Times in milliseconds since the epoch, with fractions where the clock has them. */
export interface EndedSpan {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string;
  /** 16 of them. */
  readonly spanId: string;
  /** "" for a root. */
  readonly parentSpanId: string;
  readonly kind: SpanKind;
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Attributes>;
  readonly events: readonly { readonly name: string; readonly atMs: number; readonly attributes: Attributes }[];
  readonly isError: boolean;
}

/** One hop's part of a sampled trace. */
export interface Span {
  /** What the next hop gets: this span is its parent. */
  readonly traceparent: string;
  name: string;
  set(name: string, value: AttributeValue | null | undefined): void;
  event(name: string, attributes?: Attributes): void;
  /** Once; what is said later is lost. `keep` keeps a Worker's isolate at work until it is exported. Default: the tracer's. */
  end(isError: boolean, keep?: (work: Promise<void>) => void): void;
}

export interface SpanPorts {
  readonly now: () => number;
  readonly ended: (span: EndedSpan, keep: ((work: Promise<void>) => void) | undefined) => void;
}

export function startSpan(
  ids: { readonly traceId: string; readonly spanId: string; readonly parentSpanId: string },
  kind: SpanKind,
  name: string,
  ports: SpanPorts,
): Span {
  const startMs = ports.now();
  const attributes: Attributes = {};
  const events: { name: string; atMs: number; attributes: Attributes }[] = [];
  let isOver = false;
  return {
    traceparent: `00-${ids.traceId}-${ids.spanId}-01`,
    name,
    set(key, value) {
      if (value !== null && value !== undefined) attributes[key] = bounded(value);
    },
    event(eventName, said = {}) {
      if (events.length < LIMITS.eventsPerSpan) events.push({ name: eventName, atMs: ports.now(), attributes: said });
    },
    end(isError, keep) {
      if (isOver) return;
      isOver = true;
      // A clock that was set back must not make it end before its start.
      const endMs = Math.max(startMs, ports.now());
      ports.ended({ ...ids, kind, name: this.name, startMs, endMs, attributes, events, isError }, keep);
    },
  };
}

const bounded = (value: AttributeValue): AttributeValue =>
  typeof value === "string" && value.length > LIMITS.textCharacters ? value.slice(0, LIMITS.textCharacters) : value;
