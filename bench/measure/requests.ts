import { cpuSeconds } from "../core/cpu.ts";
import type { LoadGenerator } from "../core/load-generator.ts";
import type { Column, CountedProcess, Measurement, Path, Sample } from "../core/types.ts";

/** Processes of all scenarios, in the order of the table's columns. */
const PROCESSES = ["workerd", "relay", "server", "client", "envoy", "connector", "origin"] as const;

const COLUMNS: readonly Column[] = [
  { key: "requestsPerSecond", title: "req/s", digits: 0, over: "median" },
  { key: "p50Ms", title: "p50 ms", digits: 2, over: "median" },
  { key: "p99Ms", title: "p99 ms", digits: 2, over: "median" },
  ...PROCESSES.map((name) => ({ key: cpuKey(name), title: `${name} µs`, digits: 0, over: "median" as const })),
  { key: "tunnelCpuMicros", title: "all but origin µs", digits: 0, over: "median" },
  { key: "failed", title: "failed", digits: 0, over: "sum" },
];

/** Small requests in a closed loop: rate, latency, and CPU per request of each process of the path. */
export function measureRequests(generator: LoadGenerator): Measurement {
  return {
    name: "requests",
    columns: COLUMNS,
    // CPU per request is steadier than the rate on a machine that has other work.
    ratioColumns: ["requestsPerSecond", cpuKey("workerd"), "tunnelCpuMicros"],
    variants: (settings) =>
      settings.connections.map((connections) => ({
        title: connections === 1 ? "1 connection" : `${connections} connections`,
        connections,
      })),
    async run(path: Path, variant, seconds): Promise<Sample> {
      const { url } = path;
      const headers = { ...(await path.headers()) };
      const before = path.processes.map((process) => cpuSeconds(process.pid));
      const outcome = await generator.run({ url, headers, connections: variant.connections, seconds });
      const cpu = path.processes.map((process, index) => cpuOf(process, before[index] ?? null, outcome.requests));
      return {
        requestsPerSecond: (outcome.requests - outcome.failed) / outcome.seconds,
        p50Ms: outcome.p50Ms,
        p99Ms: outcome.p99Ms,
        ...Object.fromEntries(cpu),
        tunnelCpuMicros: sumOf(cpu.filter(([key]) => key !== cpuKey("origin")).map(([, value]) => value)),
        failed: outcome.failed,
      };
    },
  };
}

function cpuKey(processName: string): string {
  return `${processName}CpuMicros`;
}

function cpuOf(process: CountedProcess, beforeSeconds: number | null, requests: number): [string, number | null] {
  const after = cpuSeconds(process.pid);
  const known = beforeSeconds !== null && after !== null && requests > 0;
  return [cpuKey(process.name), known ? ((after - beforeSeconds) / requests) * 1e6 : null];
}

const sumOf = (values: readonly (number | null)[]): number | null =>
  values.reduce<number | null>((sum, value) => (sum === null || value === null ? null : sum + value), 0);
