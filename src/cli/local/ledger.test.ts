import { expect, test } from "vitest";
import { type LedgerEntry, isSame, leftovers } from "./ledger.ts";
import type { ProcessInfo } from "./process-table.ts";

const running = (pid: number, more: Partial<ProcessInfo> = {}): ProcessInfo => ({
  pid,
  parentPid: 1,
  groupPid: pid,
  startedAt: "100",
  command: `/x/program ${pid}`,
  ...more,
});
const recorded = (pid: number, more: Partial<LedgerEntry> = {}): LedgerEntry => ({
  part: "p",
  pid,
  startedAt: "100",
  command: `/x/program ${pid}`,
  ...more,
});
const pids = (found: ProcessInfo[]) => found.map((process) => process.pid).sort((a, b) => a - b);

test("only the very same process counts: pid, start and command line", () => {
  expect(isSame(recorded(7), running(7))).toBe(true);
  expect(isSame(recorded(7), running(7, { startedAt: "101" }))).toBe(false);
  expect(isSame(recorded(7), running(7, { command: "/bin/sh" }))).toBe(false);
  expect(isSame(recorded(7), null)).toBe(false);
});

test("a recorded process is found with its children and its group, strangers are not", () => {
  const table = [
    running(7),
    running(8, { parentPid: 7 }),
    running(9, { parentPid: 8 }),
    running(10, { groupPid: 7 }),
    running(11),
  ];
  expect(pids(leftovers([recorded(7)], table, []))).toEqual([7, 8, 9, 10]);
});

test("a pid that belongs to somebody else by now is left alone, with its group", () => {
  const table = [running(7, { startedAt: "999" }), running(8, { groupPid: 7, command: "/ours/x" })];
  expect(leftovers([recorded(7)], table, ["/ours"])).toEqual([]);
});

test("the group of a dead leader is searched for what is ours", () => {
  const table = [
    running(8, { groupPid: 7, command: "/ours/workerd" }),
    running(9, { groupPid: 7, command: "/theirs" }),
  ];
  expect(pids(leftovers([recorded(7)], table, ["/ours"]))).toEqual([8]);
});
