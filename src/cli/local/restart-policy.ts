import { CRASH_LOOP_DEATHS, RESTART_FIRST_DELAY_MS, RESTART_FORGET_AFTER_MS, RESTART_MAX_DELAY_MS } from "../limits.ts";

/** How often a part died in a row; pure, so that it can be tested without processes. */
export interface RestartHistory {
  readonly deathsInARow: number;
}

export const FRESH_HISTORY: RestartHistory = { deathsInARow: 0 };

export interface RestartDecision {
  readonly history: RestartHistory;
  readonly delayMs: number;
  readonly crashLoop: boolean;
}

/** What to do when a part died after it had lived `livedMs`: exponential backoff from the first delay, forgotten after a good life. */
export function afterDeath(history: RestartHistory, livedMs: number): RestartDecision {
  const before = livedMs >= RESTART_FORGET_AFTER_MS ? 0 : history.deathsInARow;
  const deathsInARow = before + 1;
  const delayMs = Math.min(RESTART_FIRST_DELAY_MS * 2 ** before, RESTART_MAX_DELAY_MS);
  return { history: { deathsInARow }, delayMs, crashLoop: deathsInARow >= CRASH_LOOP_DEATHS };
}
