/** How often deadlines are looked at, in ms: a quarter of the shortest, within reason. A timer for each request would cost more. */
export const sweepMs = (shortestMs: number): number => Math.round(Math.min(1_000, Math.max(20, shortestMs / 4)));
