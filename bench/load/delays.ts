import type { z } from "zod";
import type { delays } from "./jobs.ts";

export function delaysOf(samplesMs: number[], seconds: number, failed: number): z.infer<typeof delays> {
  samplesMs.sort((a, b) => a - b);
  const at = (share: number): number =>
    samplesMs[Math.min(samplesMs.length - 1, Math.floor(samplesMs.length * share))] ?? 0;
  return { count: samplesMs.length, seconds, p50Ms: at(0.5), p99Ms: at(0.99), failed };
}
