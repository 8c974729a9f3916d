/** The middle value; of an even count the mean of the middle two. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? Number.NaN;
  if (sorted.length % 2 === 1) return upper;
  return ((sorted[(sorted.length >> 1) - 1] ?? Number.NaN) + upper) / 2;
}

/** A number over the repeats of one run. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Half of (max - min) as a share of the median: 0.1 is "give or take 10 %". 0 with one repeat. */
  readonly spread: number;
}

/** Null without a single value: the number was not available (for example CPU outside Linux). */
export function summarize(values: readonly (number | null)[]): Summary | null {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return null;
  const [middle, min, max] = [median(known), Math.min(...known), Math.max(...known)];
  return { median: middle, min, max, spread: middle === 0 ? 0 : (max - min) / 2 / middle };
}

/**
 * `a / b` repeat by repeat, so that noise which lasts longer than a repeat cancels out. Both lists are by repeat; a repeat that lacks
 * either value, or whose `b` is 0, is left out.
 */
export function pairedRatio(a: readonly (number | null)[], b: readonly (number | null)[]): Summary | null {
  return summarize(
    a.map((value, repeat) => {
      const below = b[repeat] ?? null;
      return value === null || below === null || below === 0 ? null : value / below;
    }),
  );
}
