import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * User and system time of a process in clock ticks, all threads, from the text of /proc/<pid>/stat (proc(5)). The name in parentheses
 * may hold spaces and parentheses itself, so fields are counted from the last one: utime and stime are fields 14 and 15, those of children that
 * have ended (`withEnded`) 16 and 17.
 */
export function ticksOf(stat: string, { withEnded = false } = {}): number | null {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ended = withEnded ? Number(fields[13]) + Number(fields[14]) : 0;
  const ticks = Number(fields[11]) + Number(fields[12]) + ended;
  return Number.isFinite(ticks) ? ticks : null;
}

/** CPU seconds that a process has used since its start; null outside Linux, or when the process is gone. */
export function cpuSeconds(pid: number, options: { readonly withEnded?: boolean } = {}): number | null {
  if (process.platform !== "linux") return null;
  try {
    const ticks = ticksOf(readFileSync(`/proc/${pid}/stat`, "utf8"), options);
    return ticks === null ? null : ticks / ticksPerSecond();
  } catch {
    return null;
  }
}

let cachedTicksPerSecond: number | null = null;

function ticksPerSecond(): number {
  if (cachedTicksPerSecond === null) {
    const answer = Number(spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8" }).stdout);
    cachedTicksPerSecond = answer > 0 ? answer : 100; // 100 on every Linux that Node supports
  }
  return cachedTicksPerSecond;
}
