/** What the choice of a connector needs to know of a socket. */
export interface Candidate {
  readonly inFlight: number;
  readonly rttMs: number | null;
}

/**
 * The less loaded of two random ones: nearly as even as looking at all, and it does not send a burst to the one that was idle a moment ago.
 * `random` is in [0, 1).
 */
export function pick<C extends Candidate>(candidates: readonly C[], random: () => number): C | null {
  const first = candidates[Math.floor(random() * candidates.length)];
  if (first === undefined) return null;
  const others = candidates.filter((candidate) => candidate !== first);
  const second = others[Math.floor(random() * others.length)];
  if (second === undefined) return first;
  if (first.inFlight !== second.inFlight) return first.inFlight < second.inFlight ? first : second;
  return (first.rttMs ?? 0) <= (second.rttMs ?? 0) ? first : second;
}
