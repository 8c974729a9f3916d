/** Every number of the node channels, with its reason. */

/** Longest message of an agent: a report with its reason is 3 KiB. */
export const AGENT_MESSAGE_CHARS = 64 * 1024;
/** Characters of tenants in one part of a snapshot: small enough to be sent between other things. A single tenant may be larger. */
export const SNAPSHOT_PART_CHARS = 256 * 1024;
/** Longest body of an enrolment: a token and a key. */
export const ENROL_BODY_BYTES = 4 * 1024;
/** Longest that a caller may wait for a tenant to settle: a queue consumer's step, well below its limit of 15 minutes. */
export const WAIT_MAX_MS = 60_000;
/** Tombstones of tenants that the node has let go. An agent that was away for longer gets a snapshot instead of changes. */
export const TOMBSTONES_MAX = 1_000;
/** Assertions are remembered for two minutes; an agent that dials more often than this in that time is refused. */
export const USED_ASSERTIONS_MAX = 1_000;
