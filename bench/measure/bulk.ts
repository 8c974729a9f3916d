import { get } from "node:http";
import { cpuSeconds } from "../core/cpu.ts";
import type { Column, Measurement, Path, Sample } from "../core/types.ts";
import { bulkOutcome } from "../load/jobs.ts";
import { reachOf, runJob } from "../load/run.ts";

const COLUMNS: readonly Column[] = [
  { key: "megabytesPerSecond", title: "MB/s", digits: 0, over: "median" },
  { key: "cpuMillisPerMegabyte", title: "CPU ms/MB", digits: 2, over: "median" },
  { key: "failed", title: "failed", digits: 0, over: "sum" },
];

const VARIANTS = [
  { title: "1 stream down", connections: 1, kind: "download" },
  { title: "8 streams down", connections: 8, kind: "download" },
  { title: "1 stream up", connections: 1, kind: "upload" },
  { title: "8 streams up", connections: 8, kind: "upload" },
] as const;

/** Bytes per second of long transfers. Uploads count what reached the origin, not what left us. CPU is that of all processes but the origin. */
export const measureBulk: Measurement = {
  name: "bulk",
  columns: COLUMNS,
  ratioColumns: ["megabytesPerSecond"],
  variants: () => VARIANTS,
  async run(path: Path, { title, connections }, seconds): Promise<Sample> {
    const kind = VARIANTS.find((variant) => variant.title === title)?.kind ?? "download";
    const counted = path.processes.filter(({ name }) => name !== "origin");
    const before = counted.map(({ pid }) => cpuSeconds(pid));
    const arrivedBefore = kind === "upload" ? await received(path) : 0;
    const outcome = await runJob(
      { kind, ...(await reachOf(path)), streams: connections, seconds, paceBytesPerSecond: null },
      bulkOutcome,
    );
    const bytes = kind === "upload" ? (await received(path)) - arrivedBefore : outcome.bytes;
    const cpu = counted.map(({ pid }, index) => (cpuSeconds(pid) ?? Number.NaN) - (before[index] ?? Number.NaN));
    const cpuSum = cpu.reduce((sum, each) => sum + each, 0);
    const megabytes = bytes / 1e6;
    return {
      megabytesPerSecond: megabytes / outcome.seconds,
      cpuMillisPerMegabyte: Number.isFinite(cpuSum) && megabytes > 0 ? (cpuSum * 1_000) / megabytes : null,
      failed: outcome.failed,
    };
  },
};

/** Bytes that have reached the origin in uploads, asked for at the origin itself. */
function received(path: Path): Promise<number> {
  return new Promise((resolve, reject) => {
    get(`${path.originUrl}/received`, { agent: false }, (response) => {
      let text = "";
      response.setEncoding("latin1").on("data", (part: string) => (text += part));
      response.on("end", () => resolve(Number(text)));
    }).on("error", reject);
  });
}
