/** Full jitter: a random part of `base * 2^attempt`, capped. Spreads a crowd evenly, and starts quickly. `random` is in [0, 1). */
export function backoffMs(attempt: number, limits: { baseMs: number; capMs: number }, random: () => number): number {
  const ceiling = Math.min(limits.capMs, limits.baseMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random() * ceiling);
}

/** The pause before the next dial: our own, and not before what the relay asked for (spread by up to a half of it, so that a crowd does not return at once). */
export function pauseMs(ownMs: number, retryAfterMs: number | null, capMs: number, random: () => number): number {
  if (retryAfterMs === null) return ownMs;
  const asked = Math.min(retryAfterMs, capMs);
  return Math.max(ownMs, Math.floor(asked + random() * (asked / 2)));
}

/** Retry-After as seconds or as an HTTP date; null when absent or not readable. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | null {
  if (header === undefined) return null;
  const text = header.trim();
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}
