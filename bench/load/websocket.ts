import { WebSocket } from "ws";
import type { z } from "zod";
import { delaysOf } from "./delays.ts";
import type { delays, Job } from "./jobs.ts";

export async function echoMessages(job: Extract<Job, { kind: "websocket" }>): Promise<z.infer<typeof delays>> {
  const samples: number[] = [];
  let failed = 0;
  const message = Buffer.alloc(job.messageBytes, "m");
  const startedAt = performance.now();
  const sockets = Array.from({ length: job.sockets }, () => {
    const socket = new WebSocket(`ws://${job.host}:${job.port}/ws`, {
      headers: { host: job.authority },
      perMessageDeflate: false,
    });
    let sentAt = 0;
    const next = (): void => {
      sentAt = performance.now();
      socket.send(message);
    };
    socket.on("open", next);
    socket.on("message", () => {
      samples.push(performance.now() - sentAt);
      next();
    });
    socket.on("error", () => (failed += 1));
    return socket;
  });
  await new Promise((resolve) => setTimeout(resolve, job.seconds * 1_000));
  const outcome = delaysOf(samples, (performance.now() - startedAt) / 1_000, failed);
  for (const socket of sockets) socket.terminate();
  return outcome;
}
