import { expect, test } from "vitest";
import type { ScenarioReport } from "../core/run-scenario.ts";
import { summarize } from "../core/statistics.ts";
import { scenarioTable } from "./table.ts";

const samples = (rate: number[], cpu: (number | null)[], failed: number[]) =>
  rate.map((requestsPerSecond, i) => ({ requestsPerSecond, workerdCpuMicros: cpu[i] ?? null, failed: failed[i] ?? 0 }));

const row = (path: string, kind: "subject" | "yardstick", of: ReturnType<typeof samples>) => ({
  path,
  title: `what ${path} is`,
  kind,
  variant: "64 connections",
  samples: of,
  summary: {
    requestsPerSecond: summarize(of.map((sample) => sample.requestsPerSecond)),
    workerdCpuMicros: summarize(of.map((sample) => sample.workerdCpuMicros)),
    failed: summarize(of.map((sample) => sample.failed)),
  },
});

const direct = [{ requestsPerSecond: 20_000, failed: 0 }];

const report: ScenarioReport = {
  scenario: "relay",
  title: "edge → relay",
  measurement: "requests",
  versions: {},
  columns: [
    { key: "requestsPerSecond", title: "req/s", digits: 0, over: "median" },
    { key: "workerdCpuMicros", title: "workerd µs", digits: 0, over: "median" },
    { key: "failed", title: "failed", digits: 0, over: "sum" },
  ],
  rows: [
    row("edge-relay", "subject", samples([2100, 2000, 1900], [450.4, 449, 460], [0, 7, 0])),
    row("null-object", "yardstick", samples([2500], [null], [0])),
    {
      ...row("direct", "yardstick", []),
      samples: direct,
      summary: { requestsPerSecond: summarize([20_000]), failed: summarize([0]) },
    },
  ],
  ratios: [
    {
      of: "edge-relay",
      to: "null-object",
      variant: "64 connections",
      column: "requestsPerSecond",
      ratio: summarize([0.84, 0.8, 0.9]),
    },
    {
      of: "edge-relay",
      to: "null-object",
      variant: "64 connections",
      column: "workerdCpuMicros",
      ratio: summarize([1.2]),
    },
    { of: "edge-relay", to: "direct", variant: "64 connections", column: "requestsPerSecond", ratio: null },
  ],
};

test("the table shows medians with their spread, sums of failures, and what was not available", () => {
  expect(scenarioTable(report)).toMatchInlineSnapshot(`
    "relay: edge → relay
      edge-relay: what edge-relay is
      null-object: what null-object is
      direct: what direct is

    64 connections         req/s  workerd µs  failed
    edge-relay       2,000   ±5%   450   ±1%       7
    null-object      2,500   ±0%         n/a       0
    direct          20,000   ±0%                   0
      edge-relay / null-object: req/s 84 % ±6%, workerd µs 120 % ±0%
    "
  `);
});
