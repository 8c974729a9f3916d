/** RFC 9218, section 4.1: what a request has that says nothing. */
export const DEFAULT_URGENCY = 3;

/** Urgency from a `Priority` request header, 0 (first) to 7; the default for none and for what is none (RFC 9218, section 4). */
export function urgencyOf(priority: string | null): number {
  if (priority === null) return DEFAULT_URGENCY;
  // The last of several counts (RFC 8941, section 3.2).
  let urgency = DEFAULT_URGENCY;
  for (const member of priority.split(",")) {
    const digit = /^\s*u=([0-7])\s*(?:;|$)/.exec(member)?.[1];
    if (digit !== undefined) urgency = Number(digit);
  }
  return urgency;
}
