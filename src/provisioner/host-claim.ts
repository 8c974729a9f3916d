import type { Verdict } from "./host-proof.ts";
import {
  CHECK_SPREAD,
  CLAIM_CHECKS,
  PROOF_MISSING_MAX_MS,
  PROOF_MISSING_RECHECK_MS,
  PROOF_RECHECK_MS,
} from "./limits.ts";

export type ClaimState = "pending" | "verified" | "stale" | "failed";

/** What is kept of a claim's proof. `stateSinceMs`: when its state began. */
export interface Claim {
  readonly state: ClaimState;
  readonly stateSinceMs: number;
}

export interface Judgement extends Claim {
  /** For people; null: all is well. */
  readonly reason: string | null;
  /** Null: it is not checked any more by itself. */
  readonly nextCheckMs: number | null;
  /** The host is to be served, or no longer. */
  readonly serve: boolean;
}

/**
 * pending ─proof─▶ verified ─proof gone─▶ stale ─for long─▶ failed; stale ─proof─▶ verified; pending ─too long─▶ failed; failed ─proof─▶ verified.
 * A resolver that does not answer proves nothing, neither way. `random` is in [0, 1).
 */
export function judge(claim: Claim, verdict: Verdict, nowMs: number, random: number): Judgement {
  const { state, stateSinceMs } = claim;
  const ageMs = nowMs - stateSinceMs;
  const after = (ms: number): number => nowMs + Math.round(ms * (1 + CHECK_SPREAD * (2 * random - 1)));
  const isServed = state === "verified" || state === "stale";
  if (verdict.kind === "proven") {
    const since = state === "verified" ? stateSinceMs : nowMs;
    return { state: "verified", stateSinceMs: since, reason: null, nextCheckMs: after(PROOF_RECHECK_MS), serve: true };
  }
  const { reason } = verdict;
  if (state === "verified" && verdict.kind === "missing")
    return { state: "stale", stateSinceMs: nowMs, reason, nextCheckMs: after(PROOF_MISSING_RECHECK_MS), serve: true };
  if (isServed) {
    if (state === "stale" && verdict.kind === "missing" && ageMs >= PROOF_MISSING_MAX_MS)
      return {
        state: "failed",
        stateSinceMs: nowMs,
        reason: `withdrawn, for its proof was missing since ${new Date(stateSinceMs).toISOString()}: ${reason}`,
        nextCheckMs: null,
        serve: false,
      };
    return { state, stateSinceMs, reason, nextCheckMs: after(PROOF_MISSING_RECHECK_MS), serve: true };
  }
  const every = state === "pending" ? CLAIM_CHECKS.find(({ untilAgeMs }) => ageMs < untilAgeMs)?.everyMs : undefined;
  if (every !== undefined) return { state, stateSinceMs, reason, nextCheckMs: after(every), serve: false };
  const since = state === "failed" ? stateSinceMs : nowMs;
  return { state: "failed", stateSinceMs: since, reason, nextCheckMs: null, serve: false };
}
