import { cpuSeconds } from "../core/cpu.ts";
import type { Column, Measurement, Path, Sample } from "../core/types.ts";
import { delays } from "../load/jobs.ts";
import { reachOf, runJob } from "../load/run.ts";

const delayColumns: readonly Column[] = [
  { key: "p50Ms", title: "p50 ms", digits: 2, over: "median" },
  { key: "p99Ms", title: "p99 ms", digits: 2, over: "median" },
  { key: "failed", title: "failed", digits: 0, over: "sum" },
];

const MESSAGE_BYTES = 64;

/** WebSocket messages that come back, each socket with one under way. CPU is that of all processes but the origin. */
export const measureWebSockets: Measurement = {
  name: "websocket",
  columns: [
    { key: "messagesPerSecond", title: "msg/s", digits: 0, over: "median" },
    { key: "cpuMicros", title: "CPU µs/msg", digits: 0, over: "median" },
    ...delayColumns,
  ],
  ratioColumns: ["messagesPerSecond"],
  variants: () => [{ title: "32 sockets", connections: 32 }],
  async run(path: Path, { connections }, seconds): Promise<Sample> {
    const counted = path.processes.filter(({ name }) => name !== "origin");
    const cpuSum = (): number => counted.reduce((sum, { pid }) => sum + (cpuSeconds(pid) ?? Number.NaN), 0);
    const before = cpuSum();
    const outcome = await runJob(
      { kind: "websocket", ...(await reachOf(path)), sockets: connections, messageBytes: MESSAGE_BYTES, seconds },
      delays,
    );
    const cpu = cpuSum() - before;
    return {
      messagesPerSecond: outcome.count / outcome.seconds,
      cpuMicros: Number.isFinite(cpu) && outcome.count > 0 ? (cpu / outcome.count) * 1e6 : null,
      p50Ms: outcome.p50Ms,
      p99Ms: outcome.p99Ms,
      failed: outcome.failed,
    };
  },
};

/** How late events of an event stream are, by the origin's clock. */
export const measureEvents: Measurement = {
  name: "events",
  columns: delayColumns,
  ratioColumns: ["p99Ms"],
  variants: () => [{ title: "4 event streams", connections: 4 }],
  async run(path: Path, { connections }, seconds): Promise<Sample> {
    const outcome = await runJob({ kind: "events", ...(await reachOf(path)), streams: connections, seconds }, delays);
    return { p50Ms: outcome.p50Ms, p99Ms: outcome.p99Ms, failed: outcome.failed };
  },
};
