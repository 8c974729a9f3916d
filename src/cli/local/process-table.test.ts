import { expect, test } from "vitest";
import { findProcess, listProcesses, parseProcStat, parsePsLine } from "./process-table.ts";

test("a stat line is read behind the name, which may hold anything", () => {
  const fields = ["S", "10", "20", ...Array.from({ length: 16 }, () => "0"), "4711", "0"];
  expect(parseProcStat(`5 (a) b) 1 (x)) ${fields.join(" ")}`)).toEqual({
    parentPid: 10,
    groupPid: 20,
    startedAt: "4711",
  });
});

test("a zombie is no process", () => {
  expect(parseProcStat("5 (a) Z 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 99 0")).toBeNull();
});

test("a line of ps", () => {
  expect(parsePsLine("  12   1    12 Ss   Sat Nov 21 08:09:10 2026     /bin/a --b  c")).toEqual({
    pid: 12,
    parentPid: 1,
    groupPid: 12,
    startedAt: "Sat Nov 21 08:09:10 2026",
    command: "/bin/a --b  c",
  });
  expect(parsePsLine("  12   1    12 Z    Sat Nov 21 08:09:10 2026     (a)")).toBeNull();
});

test("this process is found, alone and in the list, as the same", () => {
  const self = findProcess(process.pid);
  expect(self?.parentPid).toBe(process.ppid);
  expect(listProcesses().find((found) => found.pid === process.pid)).toEqual(self);
  expect(findProcess(2 ** 22 + 1)).toBeNull();
});
