import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { platform } from "node:os";

/**
 * When the process with this pid started, in the platform's own words; null when there is none (a zombie is none). Equal text means the
 * same process, not a later one that got the same pid.
 */
export function processStart(pid: number): string | null {
  try {
    return platform() === "linux" ? startFromProc(pid) : startFromPs(pid);
  } catch {
    return null;
  }
}

/** /proc/PID/stat (man 5 proc): the name field may hold anything, so fields are counted after it. */
function startFromProc(pid: number): string | null {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  // The first thread may be a zombie while others still end: until the last is gone, the process has its files and ports.
  const isGone = state === "X" || (state === "Z" && Number(fields[17]) <= 1);
  return isGone ? null : (fields[19] ?? null);
}

function startFromPs(pid: number): string | null {
  const env = { ...process.env, LC_ALL: "C" };
  const text = execFileSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], { encoding: "utf8", env }).trim();
  const [state, ...start] = text.split(/\s+/);
  return state === undefined || state === "" || state.startsWith("Z") ? null : start.join(" ");
}

/** Sends a signal to a process and all of its group (ours are started as leaders of their own). False when there is none. */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}
