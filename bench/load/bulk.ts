import { connect, type Socket } from "node:net";
import type { z } from "zod";
import type { bulkOutcome, Job } from "./jobs.ts";

type BulkJob = Extract<Job, { kind: "download" | "upload" }>;

/** A transfer never ends by itself within a slot: more than any machine moves in it. */
const MIB_A_STREAM = 64 * 1024;
const CHUNK = Buffer.alloc(256 * 1024, "u");
/** How often a paced transfer may go on: short, so that the pace is even. */
const PACE_MS = 10;

/** Moves bytes on raw sockets for the job's seconds: nothing here may be slower than what is measured. */
export async function transfer(job: BulkJob): Promise<z.infer<typeof bulkOutcome>> {
  const count = { bytes: 0, failed: 0 };
  const startedAt = performance.now();
  const sockets = Array.from({ length: job.streams }, () =>
    job.kind === "download" ? download(job, count) : upload(job, count),
  );
  await new Promise((resolve) => setTimeout(resolve, job.seconds * 1_000));
  const seconds = (performance.now() - startedAt) / 1_000;
  const outcome = { ...count, seconds };
  for (const socket of sockets) socket.destroy();
  return outcome;
}

interface Count {
  bytes: number;
  failed: number;
}

function download(job: BulkJob, count: Count): Socket {
  const perTick = job.paceBytesPerSecond === null ? null : ((job.paceBytesPerSecond / job.streams) * PACE_MS) / 1_000;
  let allowance = perTick ?? Number.POSITIVE_INFINITY;
  let head = "";
  const socket = connect({
    host: job.host,
    port: job.port,
    onread: {
      buffer: Buffer.alloc(256 * 1024),
      callback(read, bytes) {
        count.bytes += read;
        allowance -= read;
        if (head.length < 12) {
          head += Buffer.from(bytes.subarray(0, 12)).toString("latin1");
          if (!head.startsWith("HTTP/1.1 200".slice(0, head.length))) count.failed += 1;
        }
        return allowance > 0;
      },
    },
  });
  if (perTick !== null) {
    const timer = setInterval(() => {
      allowance = Math.min(allowance + perTick, perTick * 4);
      if (allowance > 0) socket.resume();
    }, PACE_MS);
    socket.on("close", () => clearInterval(timer));
  }
  socket.on("error", () => (count.failed += 1));
  socket.write(`GET /blob?mb=${MIB_A_STREAM} HTTP/1.1\r\nHost: ${job.authority}\r\n\r\n`);
  return socket;
}

function upload(job: BulkJob, count: Count): Socket {
  const socket = connect({ host: job.host, port: job.port });
  const more = (): void => {
    do count.bytes += CHUNK.length;
    while (socket.write(CHUNK));
  };
  socket.on("drain", more);
  socket.on("data", () => (count.failed += 1)); // an answer before the end is an error
  socket.on("error", () => (count.failed += 1));
  socket.write(
    `POST /upload HTTP/1.1\r\nHost: ${job.authority}\r\nContent-Length: ${MIB_A_STREAM * 1024 * 1024}\r\n\r\n`,
  );
  more();
  return socket;
}
