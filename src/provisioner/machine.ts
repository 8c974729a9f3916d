import {
  BACKOFF_FIRST_MS,
  BACKOFF_MAX_MS,
  MAX_STEP_ATTEMPTS,
  MAX_WAIT_MS,
  WAIT_MAX_MS,
  WAIT_MIN_MS,
} from "./limits.ts";

/** What one attempt at a step came to. */
export type StepOutcome =
  | { readonly kind: "done" }
  /** Something outside is not there yet; no error. */
  | { readonly kind: "wait"; readonly reason: string }
  /** There is more to do, soon. */
  | { readonly kind: "more"; readonly reason: string; readonly delayMs: number }
  /** It broke; another attempt may work. */
  | { readonly kind: "error"; readonly reason: string }
  /** It can't work as it is asked for. */
  | { readonly kind: "give-up"; readonly reason: string };

/** What becomes of the operation then. */
export type Decision =
  | { readonly kind: "next" }
  | { readonly kind: "pause"; readonly delayMs: number; readonly reason: string; readonly failedAttempt: boolean }
  | { readonly kind: "fail"; readonly reason: string };

/** Half fixed, half random, doubling: 0.5-1 s, 1-2 s, 2-4 s, ... `attempt` counts errors, from 1; `random` is in [0, 1). */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (attempt - 1));
  return Math.round(full / 2 + (full / 2) * random);
}

/** `attempts`: errors of this step before this outcome. `waitedMs`: since the step was first begun. */
export function decide(outcome: StepOutcome, step: { attempts: number; waitedMs: number }, random: number): Decision {
  switch (outcome.kind) {
    case "done":
      return { kind: "next" };
    case "more":
      return { kind: "pause", delayMs: outcome.delayMs, reason: outcome.reason, failedAttempt: false };
    case "wait": {
      if (step.waitedMs >= MAX_WAIT_MS)
        return { kind: "fail", reason: `${outcome.reason} (given up after ${Math.round(step.waitedMs / 1000)} s)` };
      const delayMs = Math.min(WAIT_MAX_MS, Math.max(WAIT_MIN_MS, Math.round(step.waitedMs / 4)));
      return { kind: "pause", delayMs, reason: outcome.reason, failedAttempt: false };
    }
    case "error": {
      const attempts = step.attempts + 1;
      if (attempts >= MAX_STEP_ATTEMPTS)
        return { kind: "fail", reason: `${outcome.reason} (given up after ${attempts} attempts)` };
      return { kind: "pause", delayMs: backoffMs(attempts, random), reason: outcome.reason, failedAttempt: true };
    }
    case "give-up":
      break;
  }
  return { kind: "fail", reason: outcome.reason };
}
