import { readFileSync } from "node:fs";

/** What a process holds alone and its share of what it holds with others, in MiB (proc_pid_smaps_rollup(5)); null when it is gone, or outside Linux. */
export function memoryMib(pid: number): number | null {
  try {
    const kib = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
    return kib === undefined ? null : Number(kib) / 1_024;
  } catch {
    return null;
  }
}
