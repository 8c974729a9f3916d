/** Clocks of whole milliseconds (and of Workers, which stand still while code runs) measure 0 on a near link. */
const LEAST_MS = 1;
/** A slower answer may only have waited behind bodies: it counts by this part. A quicker one counts at once. */
const SLOWER_WEIGHT = 1 / 8;
/** How often it is measured while bodies come in; each costs one small frame each way. */
const MEASURE_EVERY_MS = 2_000;

/** What a grant needs to come back as bytes, as windows see it: near the least of the last measurements. */
export class RoundTrip {
  /** Null: not measured yet. */
  ms: number | null = null;
  #measuredMs = Number.NEGATIVE_INFINITY;

  /** True when it is time to measure it again. */
  due(nowMs: number): boolean {
    return nowMs - this.#measuredMs >= MEASURE_EVERY_MS;
  }

  measured(sampleMs: number, nowMs: number): void {
    const sample = Math.max(LEAST_MS, sampleMs);
    this.ms = this.ms === null || sample < this.ms ? sample : this.ms + (sample - this.ms) * SLOWER_WEIGHT;
    this.#measuredMs = nowMs;
  }
}
