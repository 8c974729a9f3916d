import { describe, expect, test } from "vitest";
import { readTraceSettings } from "./settings.ts";

const ABOUT = { part: "connector", service: "causeway-connector", instance: "one" };
const read = (env: Record<string, unknown>) => readTraceSettings(env, ABOUT);
const BASE = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" };

test("without an endpoint, or switched off, there are no traces", () => {
  const off = { settings: null, warnings: [] };
  expect(read({})).toEqual(off);
  expect(read({ OTEL_EXPORTER_OTLP_ENDPOINT: "" })).toEqual(off);
  expect(read({ ...BASE, OTEL_SDK_DISABLED: "TRUE" })).toEqual(off);
  expect(read({ ...BASE, OTEL_TRACES_EXPORTER: "none" })).toEqual(off);
  expect(read({ OTEL_EXPORTER_OTLP_ENDPOINT: { get: () => "a binding" } })).toEqual(off);
});

test("the general endpoint gets the path of traces, the one of traces is used as it is", () => {
  expect(read(BASE).settings?.url).toBe("http://collector:4318/v1/traces");
  expect(read({ OTEL_EXPORTER_OTLP_ENDPOINT: "https://c/otlp/" }).settings?.url).toBe("https://c/otlp/v1/traces");
  expect(read({ ...BASE, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://t/in" }).settings?.url).toBe("https://t/in");
});

test("defaults are those of the specification", () => {
  expect(read(BASE)).toEqual({
    settings: {
      url: "http://collector:4318/v1/traces",
      headers: {},
      timeoutMs: 10_000,
      resource: {
        "service.namespace": "causeway",
        "service.instance.id": "one",
        "service.name": "causeway-connector",
        "causeway.part": "connector",
      },
      sampling: { isParentBased: true, ratio: 1 },
      trustsVisitors: false,
      queueSpans: 2_048,
      batchSpans: 512,
      delayMs: 5_000,
    },
    warnings: [],
  });
});

test("headers and resource are lists of percent-encoded pairs; those of traces win", () => {
  const { settings } = read({
    ...BASE,
    OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20abc, x-scope = one ",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test,service.name=lost",
    OTEL_SERVICE_NAME: "edge",
    OTEL_BSP_MAX_QUEUE_SIZE: "8",
  });
  expect(settings?.headers).toEqual({ authorization: "Bearer abc", "x-scope": "one" });
  expect(settings?.resource).toMatchObject({ "deployment.environment.name": "test", "service.name": "edge" });
  expect(settings?.batchSpans).toBe(8);
  const own = { OTEL_EXPORTER_OTLP_HEADERS: "a=1", OTEL_EXPORTER_OTLP_TRACES_HEADERS: "b=2" };
  expect(read({ ...BASE, ...own }).settings?.headers).toEqual({ b: "2" });
});

test.each([
  ["parentbased_traceidratio", "0.25", { isParentBased: true, ratio: 0.25 }],
  ["traceidratio", "", { isParentBased: false, ratio: 1 }],
  ["always_off", "", { isParentBased: false, ratio: 0 }],
  ["parentbased_always_off", "", { isParentBased: true, ratio: 0 }],
])("sampler %s with %s", (name, argument, sampling) => {
  const { settings } = read({ ...BASE, OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: argument });
  expect(settings?.sampling).toEqual(sampling);
});

describe("what is wrong is said once, without the value, and stays at its default", () => {
  test.each([
    ["OTEL_TRACES_SAMPLER", "jaeger_remote"],
    ["OTEL_BSP_SCHEDULE_DELAY", "soon-s3cret"],
    ["OTEL_BSP_MAX_QUEUE_SIZE", "0"],
    ["OTEL_EXPORTER_OTLP_HEADERS", "s3cret"],
    ["OTEL_EXPORTER_OTLP_HEADERS", "a=%0d%0as3cret"],
    ["OTEL_EXPORTER_OTLP_HEADERS", "a=%s3cret"],
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"],
    ["OTEL_TRACES_EXPORTER", "zipkin"],
  ])("%s=%s", (name, value) => {
    const { settings, warnings } = read({ ...BASE, [name]: value });
    expect(settings).toEqual(read(BASE).settings);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).not.toContain("s3cret");
  });

  test.each(["nonsense", "ftp://collector/", "http://user:s3cret@collector/"])("endpoint %s", (endpoint) => {
    const { settings, warnings } = read({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint });
    expect(settings).toBeNull();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).not.toContain("s3cret");
  });
});
