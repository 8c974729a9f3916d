import { Cron } from "croner";
import type { JobSchedule } from "../protocol/jobs.ts";

/**
 * When a job is due. Cron in the wall-clock time of its zone: what falls into the hour that a clock skips runs right after it, what an hour
 * brings twice runs once.
 */

/** Null: the expression and the time zone are fine. Else what is wrong, for people. */
export function scheduleProblem(schedule: JobSchedule): string | null {
  if (schedule.kind !== "cron") return null;
  try {
    return cronOf(schedule).nextRun() === null ? "the expression never comes" : null;
  } catch (error) {
    return error instanceof Error ? error.message : "not a cron expression";
  }
}

/** The first time after `afterMs`; null: never by itself. `anchorMs`: where the grid of an interval begins. */
export function nextDue(schedule: JobSchedule, anchorMs: number, afterMs: number): number | null {
  if (schedule.kind === "manual") return null;
  if (schedule.kind === "cron") return cronOf(schedule).nextRun(new Date(afterMs))?.getTime() ?? null;
  const everyMs = schedule.everySeconds * 1_000;
  if (afterMs < anchorMs) return anchorMs + everyMs;
  return anchorMs + (Math.floor((afterMs - anchorMs) / everyMs) + 1) * everyMs;
}

/** Five or six fields; nothing is scheduled here, the pattern is only asked. */
function cronOf({ expression, timeZone }: Extract<JobSchedule, { kind: "cron" }>): Cron {
  if (!isTimeZone(timeZone)) throw new Error(`there is no time zone ${timeZone}`);
  return new Cron(expression, { timezone: timeZone, paused: true, mode: "5-or-6-parts" });
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}
