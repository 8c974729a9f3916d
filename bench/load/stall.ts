import { connect } from "node:net";
import type { z } from "zod";
import type { Job, stalled } from "./jobs.ts";

/** Long enough that an answer never fits into any buffer on the way. */
const ANSWER_MIB = 64;
const HEAD_BYTES = 1_024;
const BEGIN_TIMEOUT_MS = 10_000;

/** Readers that stop after the first bytes of their answers and stay. */
export async function stall(job: Extract<Job, { kind: "stall" }>): Promise<z.infer<typeof stalled>> {
  const began = Array.from(
    { length: job.readers },
    () =>
      new Promise<boolean>((resolve) => {
        let read = 0;
        const socket = connect({ host: job.host, port: job.port }, () =>
          socket.write(`GET /blob?mb=${ANSWER_MIB} HTTP/1.1\r\nHost: ${job.authority}\r\n\r\n`),
        );
        socket.on("data", (bytes: Buffer) => {
          const isGood = read > 0 || bytes.subarray(0, 12).toString("latin1") === "HTTP/1.1 200";
          read += bytes.length;
          if (!isGood) resolve(false);
          if (read < HEAD_BYTES) return;
          socket.pause();
          resolve(true);
        });
        socket.on("error", () => resolve(false));
        setTimeout(() => resolve(false), BEGIN_TIMEOUT_MS).unref();
      }),
  );
  return { open: (await Promise.all(began)).filter(Boolean).length };
}
