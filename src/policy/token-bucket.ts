/** A rate with a reserve: full after a while without requests, so that a page with its parts passes at once. */
export interface Bucket {
  /** What was left... */
  tokens: number;
  /** ...then. */
  atMs: number;
}

export const fullBucket = (capacity: number, nowMs: number): Bucket => ({ tokens: capacity, atMs: nowMs });

/** Takes one. 0: there was one; otherwise the milliseconds until there is one again. A clock that was set back gives nothing. */
export function take(bucket: Bucket, capacity: number, perMs: number, nowMs: number): number {
  const grown = Math.min(capacity, bucket.tokens + Math.max(0, nowMs - bucket.atMs) * perMs);
  bucket.atMs = nowMs;
  bucket.tokens = grown;
  if (grown < 1) return Math.ceil((1 - grown) / perMs);
  bucket.tokens = grown - 1;
  return 0;
}
