import { request } from "node:http";
import type { z } from "zod";
import { epochMicros } from "./clock.ts";
import { delaysOf } from "./delays.ts";
import type { delays, Job } from "./jobs.ts";

/** The first events of a stream come with the head, whose delay is not theirs. */
const SKIPPED = 2;

export async function followEvents(job: Extract<Job, { kind: "events" }>): Promise<z.infer<typeof delays>> {
  const samples: number[] = [];
  let failed = 0;
  const startedAt = performance.now();
  const requests = Array.from({ length: job.streams }, () => {
    let seen = 0;
    const outgoing = request(
      { host: job.host, port: job.port, path: "/sse", headers: { host: job.authority }, agent: false },
      (response) => {
        if (response.statusCode !== 200) failed += 1;
        response.setEncoding("latin1").on("data", (text: string) => {
          const now = epochMicros();
          for (const [, sentAt] of text.matchAll(/data: (\d+)/g)) {
            seen += 1;
            if (seen > SKIPPED) samples.push((now - Number(sentAt)) / 1_000);
          }
        });
        response.on("error", () => undefined); // it is we who end it
      },
    );
    outgoing.on("error", () => undefined);
    outgoing.end();
    return outgoing;
  });
  await new Promise((resolve) => setTimeout(resolve, job.seconds * 1_000));
  const outcome = delaysOf(samples, (performance.now() - startedAt) / 1_000, samples.length === 0 ? 1 : failed);
  for (const outgoing of requests) outgoing.destroy();
  return outcome;
}
