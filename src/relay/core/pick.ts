import { LOAD_DIFFERENCE } from "../limits.ts";

/** What the choice of a connector needs to know of a socket. */
export interface Candidate {
  readonly inFlight: number;
  /** What the connector says of itself (REPORT), 0 to 1: it also carries work of the other lane. */
  readonly load: number;
  readonly rttMs: number | null;
}

/**
 * The less loaded of two random ones: nearly as even as looking at all, and it does not send a burst to the one that was idle a moment ago.
 * `random` is in [0, 1).
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
  return (first.rttMs ?? 0) <= (second.rttMs ?? 0) ? first : second;
}
