import { setTimeout as delay } from "node:timers/promises";
import type { LoadGenerator } from "../core/load-generator.ts";
import { comesUp } from "../core/probe.ts";
import { memoryMib } from "../core/memory.ts";
import type { Measurement, Path, Sample } from "../core/types.ts";
import { stalled } from "../load/jobs.ts";
import { reachOf, startJob } from "../load/run.ts";

const CONNECTIONS = 4;
const LOOK_MS = 250;
const WARM_UP_SECONDS = 3;

/**
 * Memory of a tunnel that was started anew and has taken load: at rest, its growth while readers stand still in the middle of 64 MiB answers, and how
 * small requests fare meanwhile. The origin's memory is not counted. The longer the slot, the more a leak shows.
 */
export function measureStalledReaders(generator: LoadGenerator): Measurement {
  const warm = async (path: Path, seconds: number): Promise<unknown> =>
    await generator.run({ url: path.url, headers: { ...(await path.headers()) }, connections: 64, seconds });
  return {
    name: "stalled-readers",
    columns: [
      { key: "restMib", title: "rest MiB", digits: 0, over: "median" },
      { key: "growthMib", title: "growth MiB", digits: 0, over: "median" },
      { key: "laterMib", title: "at the end MiB", digits: 0, over: "median" },
      { key: "stalled", title: "stalled", digits: 0, over: "median" },
      { key: "idleP99Ms", title: "idle p99 ms", digits: 2, over: "median" },
      { key: "p99Ms", title: "p99 ms", digits: 2, over: "median" },
      { key: "failed", title: "failed", digits: 0, over: "sum" },
    ],
    ratioColumns: ["growthMib"],
    variants: () => [
      { title: "200 stalled readers", connections: 200 },
      { title: "1,000 stalled readers", connections: 1_000 },
    ],
    async warmUp(path, seconds) {
      if (path.parts === undefined) await warm(path, seconds);
    },
    async run(path: Path, { connections }, seconds): Promise<Sample> {
      if (path.parts !== undefined) {
        // Anew: what a process has once had it keeps, and the next growth would be that much smaller.
        await path.parts.server.killAndRestart();
        await path.parts.client.killAndRestart();
        if (!(await comesUp(path))) return { failed: 1 };
        await warm(path, WARM_UP_SECONDS);
      }
      const counted = path.processes.filter(({ name }) => name !== "origin");
      const memory = (): number => counted.reduce((sum, { pid }) => sum + (memoryMib(pid) ?? Number.NaN), 0);
      const small = { url: path.url, headers: { ...(await path.headers()) }, connections: CONNECTIONS, seconds: 1 };
      const idle = await generator.run(small);
      const restMib = memory();
      const readers = startJob({ kind: "stall", ...(await reachOf(path)), readers: connections }, stalled);
      try {
        let mostMib = restMib;
        const look = setInterval(() => (mostMib = Math.max(mostMib, memory())), LOOK_MS);
        const { open } = await readers.outcome;
        await delay(seconds * 1_000);
        clearInterval(look);
        const laterMib = memory();
        const busy = await generator.run(small);
        return {
          restMib,
          growthMib: mostMib - restMib,
          laterMib: laterMib - restMib,
          stalled: open,
          idleP99Ms: idle.p99Ms,
          p99Ms: busy.p99Ms,
          failed: busy.failed,
        };
      } finally {
        await readers.end();
        await delay(500); // what the readers held is given back
      }
    },
  };
}
