import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createLogger } from "../log.ts";
import { createTraceClock } from "./process-tracer.node.ts";
import { isInRatio } from "./sampler.ts";
import { readTraceSettings } from "./settings.ts";
import { parseTraceparent, saysSampled, withTraceparent } from "./traceparent.ts";
import { createTracer, type Tracer } from "./tracer.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const sampled = `00-${TRACE}-${SPAN}-01`;
const unsampled = `00-${TRACE}-${SPAN}-00`;

function tracer(env: Record<string, string> = {}, random: () => number = Math.random): Tracer {
  const base = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" };
  const { settings } = readTraceSettings({ ...base, ...env }, { part: "edge", service: "edge" });
  if (settings === null) throw new Error("no settings");
  return createTracer(settings, {
    fetch: () => Promise.reject(new Error("no network here")),
    sleep: () => new Promise(() => undefined),
    now: () => 0,
    monotonic: () => 0,
    random,
    log: createLogger("test", () => undefined),
    keep: () => undefined,
  });
}
const ratio = (value: string) => ({ OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: value });
const TRUST = { CAUSEWAY_TRACES_TRUST_VISITORS: "1" };

test("a visitor's trace goes on with our span in it, whatever the visitor says of sampling", () => {
  for (const inbound of [sampled, unsampled]) {
    const { traceparent, span } = tracer().enter(inbound, true, "GET");
    expect(traceparent).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
    expect(traceparent).not.toContain(SPAN);
    expect(span?.traceparent).toBe(traceparent);
  }
});

test("where nothing is recorded the visitor's flag is taken away, or it goes on as it came", () => {
  const never = tracer(ratio("0"));
  const { traceparent, span } = never.enter(sampled, true, "GET");
  expect(span).toBeNull();
  expect(traceparent).toMatch(new RegExp(`^00-${TRACE}-(?!${SPAN})[0-9a-f]{16}-00$`));
  expect(never.enter(unsampled, true, "GET")).toEqual({ traceparent: unsampled, span: null });
});

test("a visitor who chose the trace's id chose nothing; one who is trusted decides", () => {
  const high = `00-${"f".repeat(32)}-${SPAN}-01`;
  expect(tracer(ratio("0.1"), () => 0.5).enter(high, true, "GET").span).toBeNull();
  expect(tracer(ratio("0.1"), () => 0.05).enter(high, true, "GET").span).not.toBeNull();
  expect(tracer({ ...TRUST, ...ratio("0") }).enter(sampled, true, "GET").span).not.toBeNull();
  expect(tracer({ ...TRUST, ...ratio("1") }).enter(unsampled, true, "GET")).toEqual({
    traceparent: unsampled,
    span: null,
  });
  // A trace that was made here has no parent to trust.
  expect(tracer({ ...TRUST, ...ratio("1") }).enter(unsampled, false, "GET").span).not.toBeNull();
});

test("an inner hop does as its parent did, unless its sampler is not parent-based", () => {
  expect(tracer(ratio("0")).child(sampled, "client", "GET")).not.toBeNull();
  expect(tracer(ratio("1")).child(unsampled, "client", "GET")).toBeNull();
  expect(tracer({ OTEL_TRACES_SAMPLER: "always_on" }).child(unsampled, "client", "GET")).not.toBeNull();
  expect(tracer({ OTEL_TRACES_SAMPLER: "always_off" }).child(sampled, "client", "GET")).toBeNull();
  for (const bad of ["", "1", `00-${"0".repeat(32)}-${SPAN}-01`, `01-${TRACE}-${SPAN}-01`, `${sampled}-x1`]) {
    expect(tracer().child(bad, "client", "GET")).toBeNull();
  }
});

test("ids of spans are never all zeros", () => {
  expect(tracer({}, () => 0).child(sampled, "client", "GET")?.traceparent).toBe(`00-${TRACE}-0000000000000001-01`);
});

test("the flag is read from one character as from the whole", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 255 }), (flags) => {
      const text = `00-${TRACE}-${SPAN}-${flags.toString(16).padStart(2, "0")}`;
      expect(saysSampled(text)).toBe(parseTraceparent(text)?.isSampled);
    }),
  );
});

test("the share of traces is the ratio, and a larger one takes all that a smaller one takes", () => {
  const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("hex"));
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(id, share, share, (traceId, a, b) => {
      if (isInRatio(traceId, Math.min(a, b))) expect(isInRatio(traceId, Math.max(a, b))).toBe(true);
      expect(isInRatio(traceId, 0)).toBe(false);
      expect(isInRatio(traceId, 1)).toBe(true);
    }),
  );
  let taken = 0;
  for (let n = 0; n < 1_000; n += 1) {
    if (
      isInRatio(
        `${"0".repeat(19)}${Math.floor(((n + 0.5) / 1_000) * 2 ** 52)
          .toString(16)
          .padStart(13, "0")}`,
        0.25,
      )
    )
      taken += 1;
  }
  expect(taken).toBe(250);
});

test("only the traceparent is replaced, in any case and however often it came", () => {
  const fields = [
    ["Host", "a"],
    ["TraceParent", "x"],
    ["tracestate", "v=1"],
    ["traceparent", "y"],
  ] as const;
  expect(withTraceparent(fields, sampled)).toEqual([
    ["Host", "a"],
    ["TraceParent", sampled],
    ["tracestate", "v=1"],
    ["traceparent", sampled],
  ]);
});

test("the clock has fractions, and follows when the wall clock is set", () => {
  let wall = 1_000;
  let mono = 0.25;
  const now = createTraceClock(
    () => wall,
    () => mono,
  );
  mono += 0.5;
  expect(now()).toBe(1_000.5);
  wall = 500_000;
  expect(now()).toBe(500_000);
  mono += 1;
  wall += 1;
  expect(now()).toBe(500_001);
});
