import { LIMITS } from "./limits.ts";
import { parseSampling, type Sampling } from "./sampler.ts";
import type { Attributes } from "./span.ts";

/** Variables by their names in the OpenTelemetry specification: of a process, or of a Worker's `vars`. */
export type TraceEnv = Readonly<Record<string, unknown>>;

export interface TraceSettings {
  readonly url: string;
  /** They may hold a token: never shown. */
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly resource: Readonly<Attributes>;
  readonly sampling: Sampling;
  /** Whether a visitor's own "sampled" decides. Default: no, anybody could have everything recorded. */
  readonly trustsVisitors: boolean;
  readonly queueSpans: number;
  readonly batchSpans: number;
  readonly delayMs: number;
}

/**
 * Null: nothing is exported, which is so unless an endpoint is named. What is wrong is ignored with a warning, as the specification wants
 * it; warnings never repeat a value. `part`: what this process is; `service`: its name unless OTEL_SERVICE_NAME says another.
 */
export function readTraceSettings(
  env: TraceEnv,
  about: { readonly part: string; readonly service: string; readonly instance?: string },
): { readonly settings: TraceSettings | null; readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  const read = (name: string): string => {
    const value = env[name];
    return typeof value === "string" ? value.trim() : "";
  };
  const ofTraces = (name: string): string =>
    read(`OTEL_EXPORTER_OTLP_TRACES_${name}`) || read(`OTEL_EXPORTER_OTLP_${name}`);
  const whole = (name: string, fallback: number, value = read(name)): number => {
    if (value === "") return fallback;
    if (/^[0-9]{1,9}$/.test(value) && Number(value) > 0) return Number(value);
    warnings.push(`${name} is not a positive whole number; it stays ${fallback}`);
    return fallback;
  };
  const off = { settings: null, warnings };

  if (read("OTEL_SDK_DISABLED").toLowerCase() === "true") return off;
  const url = endpointOf(read, warnings);
  if (url === null) return off;
  const exporter = read("OTEL_TRACES_EXPORTER") || "otlp";
  if (exporter === "none") return off;
  if (exporter !== "otlp") warnings.push("OTEL_TRACES_EXPORTER is otlp or none; traces go out by otlp");
  const protocol = ofTraces("PROTOCOL") || "http/json";
  if (protocol !== "http/json")
    warnings.push("traces go out as OTLP http/json, whatever OTEL_EXPORTER_OTLP_PROTOCOL says");

  const sampler = read("OTEL_TRACES_SAMPLER") || "parentbased_always_on";
  const sampling = parseSampling(sampler, read("OTEL_TRACES_SAMPLER_ARG"));
  if (sampling === null) warnings.push("OTEL_TRACES_SAMPLER or its _ARG is not known; it stays parentbased_always_on");

  const named = pairs(read("OTEL_RESOURCE_ATTRIBUTES"), "OTEL_RESOURCE_ATTRIBUTES", warnings);
  const service = read("OTEL_SERVICE_NAME") || named["service.name"] || about.service;
  const queueSpans = whole("OTEL_BSP_MAX_QUEUE_SIZE", LIMITS.queueSpans);
  return {
    settings: {
      url,
      headers: pairs(ofTraces("HEADERS"), "OTEL_EXPORTER_OTLP_HEADERS", warnings),
      timeoutMs: whole("OTEL_EXPORTER_OTLP_TIMEOUT", LIMITS.timeoutMs, ofTraces("TIMEOUT")),
      resource: {
        "service.namespace": "causeway",
        ...(about.instance === undefined ? {} : { "service.instance.id": about.instance }),
        ...named,
        "service.name": service,
        "causeway.part": about.part,
      },
      sampling: sampling ?? { isParentBased: true, ratio: 1 },
      trustsVisitors: read("CAUSEWAY_TRACES_TRUST_VISITORS") === "1",
      queueSpans,
      batchSpans: Math.min(whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", LIMITS.batchSpans), queueSpans),
      delayMs: whole("OTEL_BSP_SCHEDULE_DELAY", LIMITS.delayMs),
    },
    warnings,
  };
}

/** OTEL_EXPORTER_OTLP_TRACES_ENDPOINT as it is; OTEL_EXPORTER_OTLP_ENDPOINT with `v1/traces` behind it. Null: none, or a wrong one. */
function endpointOf(read: (name: string) => string, warnings: string[]): string | null {
  const own = read("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
  const base = read("OTEL_EXPORTER_OTLP_ENDPOINT");
  if (own === "" && base === "") return null;
  const text = own !== "" ? own : `${base}${base.endsWith("/") ? "" : "/"}v1/traces`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "") return url.href;
  warnings.push("the OTLP endpoint is not an http(s) URL without a password; no traces go out");
  return null;
}

/** `name=value,name=value`, percent-encoded (W3C Baggage, without properties). */
function pairs(text: string, setting: string, warnings: string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const pair of text.split(",")) {
    if (pair.trim() === "") continue;
    const at = pair.indexOf("=");
    const name = pair.slice(0, Math.max(at, 0)).trim();
    const value = decoded(pair.slice(at + 1).trim());
    if (/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && value !== null) found[name] = value;
    else warnings.push(`a part of ${setting} is not name=value; it is left out`);
  }
  return found;
}

/** Null: not percent-encoded text of visible characters and blanks, which a header could not hold. */
function decoded(text: string): string | null {
  try {
    const value = decodeURIComponent(text);
    return /^[\x20-\x7e\x80-\uffff]*$/.test(value) ? value : null;
  } catch {
    return null;
  }
}
