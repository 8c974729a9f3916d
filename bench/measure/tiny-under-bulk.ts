import type { LoadGenerator } from "../core/load-generator.ts";
import type { Measurement, Path, Sample } from "../core/types.ts";
import { bulkOutcome } from "../load/jobs.ts";
import { reachOf, startJob } from "../load/run.ts";

/** Bulk begins before the small requests and ends after them. */
const BULK_LEAD_SECONDS = 1;
const CONNECTIONS = 4;
const BULK_STREAMS = 2;

/** Small requests alone, beside bulk that is held to a pace (100 MB/s; 50 MB/s on workerd), and beside bulk as fast as it goes. */
export function measureTinyUnderBulk(generator: LoadGenerator): Measurement {
  const variants = ["idle", "paced bulk", "unthrottled bulk"] as const;
  return {
    name: "tiny-under-bulk",
    columns: [
      { key: "requestsPerSecond", title: "req/s", digits: 0, over: "median" },
      { key: "p50Ms", title: "p50 ms", digits: 2, over: "median" },
      { key: "p99Ms", title: "p99 ms", digits: 2, over: "median" },
      { key: "bulkMegabytesPerSecond", title: "bulk MB/s", digits: 0, over: "median" },
      { key: "failed", title: "failed", digits: 0, over: "sum" },
    ],
    ratioColumns: ["p99Ms"],
    variants: () => variants.map((title) => ({ title, connections: CONNECTIONS })),
    async run(path: Path, { title, connections }, seconds): Promise<Sample> {
      const headers = { ...(await path.headers()) };
      const load = { url: path.url, headers, connections, seconds };
      if (title === "idle") return sample(await generator.run(load), null, 0);
      const bulk = startJob(
        {
          kind: "download",
          ...(await reachOf(path)),
          streams: BULK_STREAMS,
          seconds: seconds + 2 * BULK_LEAD_SECONDS,
          paceBytesPerSecond: title === "paced bulk" ? path.bulkPaceBytesPerSecond : null,
        },
        bulkOutcome,
      );
      try {
        await new Promise((resolve) => setTimeout(resolve, BULK_LEAD_SECONDS * 1_000));
        const outcome = await generator.run(load);
        const moved = await bulk.outcome;
        return sample(outcome, moved.bytes / moved.seconds / 1e6, moved.failed);
      } finally {
        await bulk.end();
      }
    },
  };
}

function sample(
  outcome: Awaited<ReturnType<LoadGenerator["run"]>>,
  bulkMegabytesPerSecond: number | null,
  bulkFailed: number,
): Sample {
  return {
    requestsPerSecond: (outcome.requests - outcome.failed) / outcome.seconds,
    p50Ms: outcome.p50Ms,
    p99Ms: outcome.p99Ms,
    ...(bulkMegabytesPerSecond === null ? {} : { bulkMegabytesPerSecond }),
    failed: outcome.failed + bulkFailed,
  };
}
