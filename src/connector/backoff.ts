import { REFUSED_RETRY_MAX_MS, REFUSED_RETRY_MS } from "./limits.ts";

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

/** The pause after a refused credential, `refusals` in a row before it: half fixed, half random, 1-2 s, 2-4 s, ... at most a minute. */
export function refusedPauseMs(refusals: number, random: () => number): number {
  const full = Math.min(REFUSED_RETRY_MAX_MS, REFUSED_RETRY_MS * 2 ** Math.min(refusals, 30));
  return full / 2 + random() * (full / 2);
}

/** Retry-After as seconds or as an HTTP date; null when absent or not readable. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | null {
  if (header === undefined) return null;
  const text = header.trim();
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}
