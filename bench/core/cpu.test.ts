import { expect, test } from "vitest";
import { cpuSeconds, ticksOf } from "./cpu.ts";

const tail = "S 1 10 10 0 -1 4194560 500 0 0 0 123 45 0 0 20 0 2 0 100 1000 200 18446744073709551615";

test("CPU is user plus system time, whatever the process is called", () => {
  expect(ticksOf(`10 (workerd) ${tail}`)).toBe(168);
  expect(ticksOf(`10 (a) name) (odd) ${tail}`)).toBe(168);
});

test("text that is no stat line is null, not a number made up", () => {
  expect(ticksOf("")).toBeNull();
  expect(ticksOf("10 (workerd) S 1")).toBeNull();
});

test.runIf(process.platform === "linux")("the CPU of this process grows", () => {
  const before = cpuSeconds(process.pid) ?? Number.NaN;
  const end = performance.now() + 60;
  while (performance.now() < end);
  expect(cpuSeconds(process.pid)).toBeGreaterThan(before);
});

test("a process that is gone has no CPU", () => {
  expect(cpuSeconds(2 ** 22 + 1)).toBeNull();
});
