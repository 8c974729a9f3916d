import type { Logger } from "../log.ts";
import type { Keep } from "./exporter.ts";
import type { TraceEnv } from "./settings.ts";
import { tracerFrom, type Tracer } from "./tracer.ts";

/** The tracer of a Worker's isolate or of one object, by its `vars` and secrets; null: traces are off. */
export const workerTracer = (
  env: TraceEnv,
  about: { readonly part: string; readonly service: string },
  log: Logger,
  /** For spans whose end names no other way. */
  keep: Keep,
): Tracer | null =>
  tracerFrom(env, about, {
    fetch: (url, init) => fetch(url, init),
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    // The runtime's clock stands still while code runs, so fractions would tell nothing.
    now: () => Date.now(),
    monotonic: () => Date.now(),
    random: Math.random,
    log,
    keep,
  });
