import { setTimeout as delay } from "node:timers/promises";
import { answersWell, probe } from "../core/probe.ts";
import { median } from "../core/statistics.ts";
import type { Measurement, Path, Sample } from "../core/types.ts";

const ASK_AGAIN_MS = 10;
const GIVE_UP_MS = 30_000;
/** Before each kill: whatever backs off has forgotten the last one. Our connector begins with its shortest pauses again after 5 s. */
const REST_MS = 5_500;

/**
 * SIGKILL, started again at once as a supervisor would: seconds until the first good answer on a fresh connection. Once for each second of the
 * slot, so that `--repeats 1 --seconds 10` is a median of ten. Some seven seconds each for a server, one for a client.
 */
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
  async run(path: Path, { title }, kills): Promise<Sample> {
    const isServer = title === "server killed";
    const part = isServer ? path.parts?.server : path.parts?.client;
    if (part === undefined) return {};
    const seconds: number[] = [];
    for (let kill = 0; kill < kills; kill++) {
      // A client that is killed begins anew anyway.
      if (isServer) await delay(REST_MS);
      const startedAt = performance.now();
      await part.killAndRestart();
      const back = await untilGood(path, startedAt);
      if (back === null) return { failed: 1 }; // nor would it be after the next one
      seconds.push(back);
    }
    return { seconds: median(seconds), worstSeconds: Math.max(...seconds), failed: 0 };
  },
};

async function untilGood(path: Path, startedAt: number): Promise<number | null> {
  while (performance.now() - startedAt < GIVE_UP_MS) {
    if (answersWell(await probe(path))) return (performance.now() - startedAt) / 1_000;
    await delay(ASK_AGAIN_MS);
  }
  return null;
}
