import { expect, test, vi } from "vitest";
import { exportTraceServiceRequest } from "../../../test/support/otlp.ts";
import { createLogger } from "../log.ts";
import { createExporter, type Exporter } from "./exporter.ts";
import type { EndedSpan } from "./span.ts";

const SPAN: EndedSpan = {
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  spanId: "00f067aa0ba902b7",
  parentSpanId: "",
  kind: "server",
  name: "GET",
  startMs: 1_700_000_000_000.125,
  endMs: 1_700_000_000_003.5,
  attributes: { text: "a", whole: 200, part: 0.5, flag: true },
  events: [{ name: "causeway.retry", atMs: 1_700_000_000_001, attributes: { n: 1 } }],
  isError: true,
};

interface Host {
  readonly exporter: Exporter;
  readonly bodies: string[];
  readonly log: string[];
  /** Runs every sleep that waits. */
  readonly wake: () => Promise<void>;
  readonly pauses: number[];
  readonly advance: (ms: number) => void;
}

/** The exporter with a clock of ours. `answer`: what the collector says. */
function host(
  answer: (n: number) => Response | Promise<Response>,
  change: Partial<Parameters<typeof createExporter>[0]> = {},
): Host {
  const bodies: string[] = [];
  const log: string[] = [];
  const sleeps: (() => void)[] = [];
  const pauses: number[] = [];
  let nowMs = 0;
  const settings = { queueSpans: 10, batchSpans: 4, delayMs: 100, timeoutMs: 1_000 };
  const exporter = createExporter(
    { url: "http://collector/v1/traces", headers: { authorization: "Bearer x" }, resource: {}, ...settings, ...change },
    {
      fetch: async (_url, init) => {
        bodies.push(typeof init.body === "string" ? init.body : "");
        return await answer(bodies.length);
      },
      monotonic: () => nowMs,
      sleep: (ms) => {
        pauses.push(ms);
        return new Promise((resolve) => sleeps.push(resolve));
      },
      log: createLogger("test", (line) => log.push(line)),
    },
  );
  return {
    exporter,
    bodies,
    log,
    pauses,
    advance: (ms) => (nowMs += ms),
    async wake() {
      for (const resolve of sleeps.splice(0)) resolve();
      for (let turns = 0; turns < 50; turns += 1) await Promise.resolve();
    },
  };
}

const spansIn = (body: string | undefined): number =>
  exportTraceServiceRequest.parse(JSON.parse(body ?? "")).resourceSpans[0]?.scopeSpans[0]?.spans.length ?? 0;
const taken = () => new Response("{}");
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("what it sends is OTLP's JSON: hexadecimal ids, 64-bit numbers as text, kinds and states as numbers", async () => {
  const { exporter, bodies } = host(taken);
  exporter.add(SPAN, () => undefined);
  await exporter.flush(1_000);
  const [body] = bodies;
  expect(exportTraceServiceRequest.safeParse(JSON.parse(body ?? "")).success).toBe(true);
  expect(JSON.parse(body ?? "").resourceSpans[0].scopeSpans[0].spans).toEqual([
    {
      traceId: SPAN.traceId,
      spanId: SPAN.spanId,
      flags: 1,
      name: "GET",
      kind: 2,
      startTimeUnixNano: "1700000000000125000",
      endTimeUnixNano: "1700000000003500000",
      attributes: [
        { key: "text", value: { stringValue: "a" } },
        { key: "whole", value: { intValue: "200" } },
        { key: "part", value: { doubleValue: 0.5 } },
        { key: "flag", value: { boolValue: true } },
      ],
      events: [
        {
          timeUnixNano: "1700000000001000000",
          name: "causeway.retry",
          attributes: [{ key: "n", value: { intValue: "1" } }],
        },
      ],
      status: { code: 2 },
    },
  ]);
});

test("spans of one delay leave as one batch, a full batch at once", async () => {
  const { exporter, bodies, wake } = host(taken);
  const keep = vi.fn<(work: Promise<void>) => void>();
  for (let n = 0; n < 3; n += 1) exporter.add(SPAN, keep);
  expect(keep).toHaveBeenCalledTimes(1);
  expect(bodies).toEqual([]);
  await wake();
  await settle();
  expect(bodies.map(spansIn)).toEqual([3]);
  for (let n = 0; n < 4; n += 1) exporter.add(SPAN, keep);
  await settle();
  expect(bodies.map(spansIn)).toEqual([3, 4]);
  expect(exporter.counts).toEqual({ exported: 7, dropped: 0, failed: 0 });
});

test("the queue is bounded while the collector hangs, and what does not fit is counted", async () => {
  let answer: (response: Response) => void = () => undefined;
  const { exporter, bodies } = host(() => new Promise((resolve) => (answer = resolve)));
  for (let n = 0; n < 100; n += 1) exporter.add(SPAN, () => undefined);
  await settle();
  // Four are on their way, ten wait.
  expect(bodies.map(spansIn)).toEqual([4]);
  expect(exporter.counts.dropped).toBe(86);
  const flushed = exporter.flush(1_000);
  for (let n = 0; n < 3; n += 1) {
    answer(taken());
    await settle();
  }
  await settle();
  answer(taken());
  await flushed;
  expect(exporter.counts).toEqual({ exported: 14, dropped: 86, failed: 0 });
});

test("a busy collector is asked again after its Retry-After, three times in all; another refusal is final", async () => {
  const busy = () => new Response(null, { status: 503, headers: { "retry-after": "7" } });
  const { exporter, bodies, wake, pauses, log } = host(busy);
  exporter.add(SPAN, () => undefined);
  for (let n = 0; n < 4; n += 1) {
    await wake();
    await settle();
  }
  expect(bodies).toHaveLength(3);
  expect(pauses).toEqual([100, 7_000, 7_000]);
  expect(exporter.counts).toEqual({ exported: 0, dropped: 0, failed: 1 });
  expect(log.join()).toContain("status 503");

  const refusing = host(() => new Response("no", { status: 400 }));
  for (let n = 0; n < 2; n += 1) {
    refusing.exporter.add(SPAN, () => undefined);
    await refusing.wake();
    await settle();
  }
  expect(refusing.bodies).toHaveLength(2);
  // Once for the outage, however long it lasts; and never what the collector's address or headers are.
  expect(refusing.log).toHaveLength(1);
  expect(refusing.log.join()).not.toMatch(/collector\/|Bearer/);
});

test("spans that the collector rejects from a batch count as failed", async () => {
  const { exporter } = host(() => Response.json({ partialSuccess: { rejectedSpans: "2", errorMessage: "old" } }));
  for (let n = 0; n < 3; n += 1) exporter.add(SPAN, () => undefined);
  await exporter.flush(1_000);
  expect(exporter.counts).toEqual({ exported: 1, dropped: 0, failed: 2 });
});

test("a run that was cut off with its request does not stop the export for ever", async () => {
  const { exporter, bodies, advance, pauses } = host(taken);
  exporter.add(SPAN, () => undefined); // and nobody ever wakes it
  exporter.add(SPAN, () => undefined);
  expect(pauses).toHaveLength(1);
  advance(100_000);
  exporter.add(SPAN, () => undefined);
  expect(pauses).toHaveLength(2);
  expect(bodies).toEqual([]);
});

test("flush ends when its time is over", async () => {
  const { exporter, wake } = host(() => new Promise(() => undefined));
  exporter.add(SPAN, () => undefined);
  const flushed = exporter.flush(5);
  await wake();
  await flushed;
  expect(exporter.counts.exported).toBe(0);
});
