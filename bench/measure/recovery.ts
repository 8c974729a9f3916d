import { setTimeout as delay } from "node:timers/promises";
import { CliError, EXIT } from "../../src/cli/frame/exit.ts";
import { answersWell, probe } from "../core/probe.ts";
import { median } from "../core/statistics.ts";
import type { Measurement, Path, Sample } from "../core/types.ts";

const KILLS = 10;
const ASK_AGAIN_MS = 10;
const GIVE_UP_MS = 30_000;
/** Between two kills: whatever backs off has forgotten the last one. */
const REST_MS = 500;

/** SIGKILL, started again at once as a supervisor would: seconds until the first good answer on a fresh connection. Median of ten. */
export const measureRecovery: Measurement = {
  name: "recovery",
  columns: [
    { key: "seconds", title: "median s", digits: 3, over: "median" },
    { key: "worstSeconds", title: "worst s", digits: 3, over: "median" },
    { key: "failed", title: "never back", digits: 0, over: "sum" },
  ],
  ratioColumns: ["seconds"],
  variants: () => [
    { title: "server killed", connections: 1 },
    { title: "client killed", connections: 1 },
  ],
  warmUp: async () => undefined,
  async run(path: Path, { title }): Promise<Sample> {
    const part = title === "server killed" ? path.parts?.server : path.parts?.client;
    if (part === undefined) return {};
    const seconds: number[] = [];
    let failed = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const startedAt = performance.now();
      await part.killAndRestart();
      const back = await untilGood(path, startedAt);
      if (back === null) failed += 1;
      else seconds.push(back);
      await delay(REST_MS);
    }
    if (seconds.length === 0) throw new CliError(EXIT.failed, `${path.key} did not come back after ${title}`);
    return { seconds: median(seconds), worstSeconds: Math.max(...seconds), failed };
  },
};

async function untilGood(path: Path, startedAt: number): Promise<number | null> {
  while (performance.now() - startedAt < GIVE_UP_MS) {
    if (answersWell(await probe(path))) return (performance.now() - startedAt) / 1_000;
    await delay(ASK_AGAIN_MS);
  }
  return null;
}
