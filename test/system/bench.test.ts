import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { z } from "zod";

// Whether the benchmark works, on real parts; not how fast anything is.
const run = promisify(execFile);
const bench = (...args: string[]) =>
  run(process.execPath, [join(process.cwd(), "bench/main.ts"), ...args], { maxBuffer: 1 << 24 });

const report = z.object({
  versions: z.object({ workerd: z.string(), node: z.string(), load: z.string() }),
  reports: z.array(
    z.object({
      scenario: z.string(),
      versions: z.record(z.string(), z.string()),
      rows: z.array(
        z.object({ path: z.string(), kind: z.string(), samples: z.array(z.record(z.string(), z.number().nullable())) }),
      ),
      ratios: z.array(z.object({ of: z.string(), to: z.string(), column: z.string(), ratio: z.object({}).nullable() })),
    }),
  ),
});

/** Reports of scenarios that run in several processes beside one another: they mostly wait, and nobody looks at how fast they are. */
async function quick(rows: readonly (readonly string[])[], ...args: string[]) {
  const each = async (names: readonly string[]) => {
    const reports = [];
    for (const name of names) {
      const { stdout } = await bench(name, "--quick", "--connections", "2", "--json", ...args);
      reports.push(...report.parse(JSON.parse(stdout)).reports);
    }
    return reports;
  };
  return (await Promise.all(rows.map(each))).flat();
}

test("runs measure both ways through the product beside their yardsticks", { timeout: 240_000 }, async () => {
  const reports = await quick([["node"], ["relay-requests"]]);
  const paths = (name: string) => reports.find(({ scenario }) => scenario === name)?.rows.map(({ path }) => path);
  expect(paths("node")).toEqual(["direct", "envoy", "bare-proxy", "bare-proxy-envoy", "edge-node"]);
  // Peers that happen to be on PATH come after these.
  expect(paths("relay-requests")).toEqual(
    expect.arrayContaining(["direct", "bare-proxy", "null-object", "relay-node", "relay-workerd", "envoy"]),
  );
  for (const { path, samples } of reports.flatMap(({ rows }) => rows)) {
    expect(samples, path).toHaveLength(1);
    expect(samples[0]?.["requestsPerSecond"], path).toBeGreaterThan(0);
    expect(samples[0]?.["failed"], path).toBe(0);
  }
  if (process.platform !== "linux") return; // CPU is counted on Linux only
  const sample = (name: string) => reports.flatMap(({ rows }) => rows).find(({ path }) => path === name)?.samples[0];
  for (const process of ["workerd", "envoy", "origin"])
    expect(sample("edge-node")?.[`${process}CpuMicros`], process).toBeGreaterThan(0);
  for (const process of ["workerd", "connector", "origin"])
    expect(sample("relay-workerd")?.[`${process}CpuMicros`], process).toBeGreaterThan(0);
  for (const process of ["relay", "connector", "origin"])
    expect(sample("relay-node")?.[`${process}CpuMicros`], process).toBeGreaterThan(0);
});

test("every other way of measuring the relay gives its numbers on Node", { timeout: 240_000 }, async () => {
  const rows = [
    ["relay-stalled", "relay-messages"],
    ["relay-tiny", "relay-bulk", "relay-events"],
    ["relay-recovery", "relay-wan", "relay-loss"],
  ];
  const reports = await quick(rows, "--paths", "relay-node");
  const value = (scenario: string, column: string) =>
    reports.find((each) => each.scenario === scenario)?.rows[0]?.samples[0]?.[column];
  expect(value("relay-bulk", "megabytesPerSecond")).toBeGreaterThan(0);
  expect(value("relay-messages", "messagesPerSecond")).toBeGreaterThan(0);
  expect(value("relay-events", "p99Ms")).toBeGreaterThan(0);
  expect(value("relay-tiny", "requestsPerSecond")).toBeGreaterThan(0);
  expect(value("relay-stalled", "stalled")).toBe(200);
  expect(value("relay-recovery", "seconds")).toBeGreaterThan(0);
  expect(value("relay-wan", "megabytesPerSecond")).toBeGreaterThan(0);
  expect(value("relay-loss", "megabytesPerSecond")).toBeGreaterThan(0);
});

test.each([
  ["an unknown scenario", ["nothing"], 2],
  ["a bad number", ["--repeats", "x"], 2],
])("%s, %j, ends with exit code %i", async (_what, args, code) => {
  await expect(bench(...args)).rejects.toMatchObject({ code });
});

test("the help goes to standard output", async () => {
  expect((await bench("--help")).stdout).toContain("npm run bench -- [scenario]");
});
