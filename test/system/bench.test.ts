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

test("one run measures both ways through the product beside their yardsticks", { timeout: 180_000 }, async () => {
  const { stdout } = await bench("all", "--quick", "--connections", "2", "--json");
  const { reports } = report.parse(JSON.parse(stdout));
  const paths = (name: string) => reports.find(({ scenario }) => scenario === name)?.rows.map(({ path }) => path);
  expect(paths("node")).toEqual(["direct", "envoy", "bare-proxy", "bare-proxy-envoy", "edge-node"]);
  expect(paths("relay")).toEqual(["direct", "bare-proxy", "null-object", "edge-relay"]);
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
    expect(sample("edge-relay")?.[`${process}CpuMicros`], process).toBeGreaterThan(0);
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
