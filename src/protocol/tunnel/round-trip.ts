/** Clocks of whole milliseconds (and of Workers, which stand still while code runs) measure 0 on a near link. */
const LEAST_MS = 1;
/** How often it is measured while bodies come in; each costs one small frame each way. */
const MEASURE_EVERY_MS = 250;
/** A way that became longer is believed after one to two of these. */
const PERIOD_MS = 15_000;

/**
 * What a grant needs to come back as bytes, as windows see it: the least of the last measurements. A slower answer has waited behind bodies,
 * or for a busy process; windows that grew by it would only make the queue longer (BBR looks at the least of ten seconds, likewise).
 */
export class RoundTrip {
  /** Null: not measured yet. */
  ms: number | null = null;
  #measuredMs = Number.NEGATIVE_INFINITY;
  #periodSinceMs = Number.NEGATIVE_INFINITY;
  #leastMs = Number.POSITIVE_INFINITY;
  #leastBeforeMs = Number.POSITIVE_INFINITY;

  /** True when it is time to measure it again. */
  due(nowMs: number): boolean {
    return nowMs - this.#measuredMs >= MEASURE_EVERY_MS;
  }

  measured(sampleMs: number, nowMs: number): void {
    this.#measuredMs = nowMs;
    if (nowMs - this.#periodSinceMs >= PERIOD_MS) {
      this.#leastBeforeMs = this.#leastMs;
      this.#leastMs = Number.POSITIVE_INFINITY;
      this.#periodSinceMs = nowMs;
    }
    this.#leastMs = Math.min(this.#leastMs, Math.max(LEAST_MS, sampleMs));
    this.ms = Math.min(this.#leastMs, this.#leastBeforeMs);
  }
}
