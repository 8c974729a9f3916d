import type { Logger } from "../log.ts";
import { LIMITS } from "./limits.ts";
import { encodeTraces } from "./otlp.ts";
import type { TraceSettings } from "./settings.ts";
import type { EndedSpan } from "./span.ts";

/** Spans since the start, by what became of them. */
export interface SpanCounts {
  readonly exported: number;
  /** The queue was full. */
  readonly dropped: number;
  /** The collector did not take them. */
  readonly failed: number;
}

/** Keeps a host at work while something goes out; where processes live on by themselves it does nothing. */
export type Keep = (work: Promise<void>) => void;

export interface Exporter {
  add(span: EndedSpan, keep: Keep): void;
  readonly counts: SpanCounts;
  /** Sends all that waits, within the time. Never rejects. */
  flush(withinMs: number): Promise<void>;
}

export interface ExporterPorts {
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number;
  /** Must not keep a process alive. */
  readonly sleep: (ms: number) => Promise<void>;
  readonly log: Logger;
}

type ExporterSettings = Pick<
  TraceSettings,
  "url" | "headers" | "timeoutMs" | "resource" | "queueSpans" | "batchSpans" | "delayMs"
>;

/** Batches by time and number, one request at a time, never in the way of a visitor: `add` only puts into a queue with a bound. */
export function createExporter(settings: ExporterSettings, ports: ExporterPorts): Exporter {
  const { monotonic, sleep, log } = ports;
  const queue: EndedSpan[] = [];
  const counts = { exported: 0, dropped: 0, failed: 0 };
  // As times and not as flags: what a Worker began may end with its request, and then nobody would take a flag away.
  let waitingUntilMs = -Infinity;
  let sendingUntilMs = -Infinity;
  let sending: Promise<void> = Promise.resolve();
  let isFailing = false;

  function add(span: EndedSpan, keep: Keep): void {
    if (queue.length >= settings.queueSpans) {
      counts.dropped += 1;
      return;
    }
    queue.push(span);
    const nowMs = monotonic();
    if (queue.length >= settings.batchSpans) {
      if (nowMs >= sendingUntilMs) keep(sendAll());
    } else if (nowMs >= waitingUntilMs) {
      waitingUntilMs = nowMs + settings.delayMs + LIMITS.lostRunMs;
      keep(sendLater());
    }
  }

  async function sendLater(): Promise<void> {
    await sleep(settings.delayMs);
    waitingUntilMs = -Infinity;
    await sendAll();
  }

  async function sendAll(): Promise<void> {
    while (queue.length > 0 && monotonic() >= sendingUntilMs) {
      sendingUntilMs = monotonic() + LIMITS.tries * settings.timeoutMs + LIMITS.lostRunMs;
      sending = send(queue.splice(0, settings.batchSpans));
      await sending;
      sendingUntilMs = -Infinity;
    }
  }

  /** Whoever sends already goes on with the next batch itself: that one is waited for too. */
  async function sendRest(): Promise<void> {
    do {
      await sending;
      await sendAll();
      await sending;
    } while (queue.length > 0);
  }

  async function send(spans: readonly EndedSpan[]): Promise<void> {
    const body = encodeTraces(settings.resource, spans);
    let reason = "";
    for (let tries = 1; tries <= LIMITS.tries; tries += 1) {
      const answer = await post(body);
      if (answer.kind === "taken") {
        counts.exported += spans.length - answer.rejected;
        counts.failed += answer.rejected;
        if (isFailing) log.info("the collector takes traces again");
        isFailing = false;
        return;
      }
      ({ reason } = answer);
      if (answer.retryAfterMs === null) break;
      if (tries < LIMITS.tries) await sleep(Math.max(answer.retryAfterMs, LIMITS.retryMs * tries));
    }
    counts.failed += spans.length;
    // Once for each outage: a collector that is away must not fill the log.
    if (!isFailing) log.warn("the collector does not take traces", { reason, lost: spans.length });
    isFailing = true;
  }

  /** `retryAfterMs`: null when it is of no use to ask again. */
  async function post(
    body: string,
  ): Promise<
    | { readonly kind: "taken"; readonly rejected: number }
    | { readonly kind: "refused"; readonly reason: string; readonly retryAfterMs: number | null }
  > {
    try {
      const response = await ports.fetch(settings.url, {
        method: "POST",
        headers: { ...settings.headers, "content-type": "application/json" },
        body,
        // Another address would get our headers.
        redirect: "manual",
        signal: AbortSignal.timeout(settings.timeoutMs),
      });
      const text = await response.text();
      if (response.ok) return { kind: "taken", rejected: rejectedIn(text) };
      const seconds = Number(response.headers.get("retry-after") ?? "0");
      const retryAfterMs = seconds > 0 ? Math.min(seconds * 1_000, LIMITS.retryAfterMs) : 0;
      const isTransient = RETRYABLE.has(response.status);
      return { kind: "refused", reason: `status ${response.status}`, retryAfterMs: isTransient ? retryAfterMs : null };
    } catch (error) {
      // The message might name the address with its query.
      return { kind: "refused", reason: error instanceof Error ? error.name : "unknown", retryAfterMs: 0 };
    }
  }

  return {
    add,
    counts,
    async flush(withinMs) {
      await Promise.race([sendRest(), sleep(withinMs)]);
    },
  };
}

/** OTLP/HTTP, "Retryable response codes". */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** Of an ExportTraceServiceResponse: how many spans the collector did not want, though it took the others. */
function rejectedIn(text: string): number {
  const [, rejected] = /"rejectedSpans"\s*:\s*"?([0-9]{1,9})"?/.exec(text) ?? [];
  return Number(rejected ?? "0");
}
