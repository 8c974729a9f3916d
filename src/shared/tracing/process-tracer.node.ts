import type { Logger } from "../log.ts";
import type { TraceEnv } from "./settings.ts";
import { tracerFrom, type Tracer } from "./tracer.ts";

/** A wall clock that is this far from the one that runs evenly was set. */
const CLOCK_SET_MS = 50;

/** The tracer of a Node process, by its environment; null: traces are off. Nothing of it keeps the process alive. */
export const processTracer = (
  env: TraceEnv,
  about: { readonly part: string; readonly service: string; readonly instance?: string },
  log: Logger,
): Tracer | null =>
  tracerFrom(env, about, {
    fetch: (url, init) => fetch(url, init),
    sleep: (ms) => new Promise((resolve) => void setTimeout(resolve, ms).unref()),
    now: createTraceClock(Date.now, () => performance.now()),
    monotonic: () => performance.now(),
    random: Math.random,
    log,
    keep: () => undefined,
  });

/** Milliseconds since the epoch with fractions: requests are shorter than the wall clock's millisecond. */
export function createTraceClock(wall: () => number, monotonic: () => number): () => number {
  let offsetMs = wall() - monotonic();
  return () => {
    const nowMs = monotonic() + offsetMs;
    const offMs = wall() - nowMs;
    if (Math.abs(offMs) < CLOCK_SET_MS) return nowMs;
    offsetMs += offMs;
    return nowMs + offMs;
  };
}
