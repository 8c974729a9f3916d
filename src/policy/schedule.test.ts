import { expect, test } from "vitest";
import { nextDue, scheduleProblem } from "./schedule.ts";

const at = (iso: string): number => Date.parse(iso);
const cron = (expression: string, timeZone = "UTC") => ({ kind: "cron", expression, timeZone }) as const;
const nextOf = (expression: string, timeZone: string, after: string): string =>
  new Date(nextDue(cron(expression, timeZone), 0, at(after)) ?? 0).toISOString();

test("an interval keeps to its grid, whatever was missed", () => {
  const every10 = { kind: "interval", everySeconds: 10 } as const;
  const anchor = at("2026-01-01T00:00:03Z");
  expect(nextDue(every10, anchor, anchor - 5_000)).toBe(anchor + 10_000);
  expect(nextDue(every10, anchor, anchor)).toBe(anchor + 10_000);
  expect(nextDue(every10, anchor, anchor + 9_999)).toBe(anchor + 10_000);
  expect(nextDue(every10, anchor, anchor + 10_000)).toBe(anchor + 20_000);
  expect(nextDue(every10, anchor, anchor + 3_600_001)).toBe(anchor + 3_610_000);
});

test("a cron expression is read in its time zone", () => {
  expect(nextOf("30 6 * * 1-5", "UTC", "2026-11-20T06:30:00Z")).toBe("2026-11-23T06:30:00.000Z");
  expect(nextOf("30 6 * * *", "Asia/Kolkata", "2026-11-20T00:00:00Z")).toBe("2026-11-20T01:00:00.000Z");
  expect(nextOf("*/15 * * * * *", "UTC", "2026-11-20T00:00:01Z")).toBe("2026-11-20T00:00:15.000Z");
});

test("a day has its run whether the clock skips its hour or has it twice", () => {
  // Berlin skips 02:00-03:00 on 29 March 2026, and has it twice on 25 October.
  expect(nextOf("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z")).toBe("2026-03-29T01:00:00.000Z");
  expect(nextOf("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z")).toBe("2026-03-30T00:30:00.000Z");
  const first = nextOf("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z");
  expect(first).toMatch(/^2026-10-25T0[01]:30:00/);
  expect(nextOf("30 2 * * *", "Europe/Berlin", first)).toBe("2026-10-26T01:30:00.000Z");
});

test("what is by hand only is never due", () => {
  expect(nextDue({ kind: "manual" }, 0, 0)).toBeNull();
});

test("mistakes are told", () => {
  expect(scheduleProblem(cron("*/5 * * * *", "Europe/Berlin"))).toBeNull();
  expect(scheduleProblem({ kind: "interval", everySeconds: 5 })).toBeNull();
  expect(scheduleProblem(cron("61 * * * *"))).not.toBeNull();
  expect(scheduleProblem(cron("* * *"))).not.toBeNull();
  expect(scheduleProblem(cron("0 0 30 2 *"))).toBe("the expression never comes");
  expect(scheduleProblem(cron("0 0 * * *", "Mars/Olympus"))).toBe("there is no time zone Mars/Olympus");
});
