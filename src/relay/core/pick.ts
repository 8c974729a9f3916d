import { FARTHER_FACTOR, FARTHER_MS, LOAD_DIFFERENCE } from "../limits.ts";

/** What the choice of a connector needs to know of a socket. */
export interface Candidate {
  readonly inFlight: number;
  /** What the connector says of itself (REPORT), 0 to 1: it also carries work of the other lane. */
  readonly load: number;
  /** The least of the last ones; null: none was measured yet. */
  readonly rttMs: number | null;
}

/**
 * The less loaded of two random ones: nearly as even as looking at all, and it does not send a burst to the one that was idle a moment ago.
 * Of two with the same work the one that is clearly nearer, else either: idle ones share evenly. `random` is in [0, 1).
 */
export function pick<C extends Candidate>(candidates: readonly C[], random: () => number): C | null {
  const count = candidates.length;
  const at = Math.floor(random() * count);
  const first = candidates[at];
  if (first === undefined) return null;
  if (count === 1) return first;
  const other = Math.floor(random() * (count - 1));
  const second = candidates[other < at ? other : other + 1];
  if (second === undefined) return first;
  if (Math.abs(first.load - second.load) >= LOAD_DIFFERENCE) return first.load < second.load ? first : second;
  if (first.inFlight !== second.inFlight) return first.inFlight < second.inFlight ? first : second;
  return isFarther(first, second) ? second : first;
}

/** One that was not measured yet is as near as any. */
function isFarther({ rttMs }: Candidate, than: Candidate): boolean {
  if (rttMs === null || than.rttMs === null) return false;
  return rttMs > than.rttMs * FARTHER_FACTOR && rttMs > than.rttMs + FARTHER_MS;
}
