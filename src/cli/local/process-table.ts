import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { platform } from "node:os";

/** One process of the machine, as far as we need it to know our own again. */
export interface ProcessInfo {
  readonly pid: number;
  readonly parentPid: number;
  readonly groupPid: number;
  /** When it started, in the platform's own words: equal text = the same process, not a later one with the same pid. */
  readonly startedAt: string;
  readonly command: string;
}

/** All processes. Zombies are left out: they are dead already. */
export function listProcesses(): ProcessInfo[] {
  return platform() === "linux" ? listFromProc() : listFromPs();
}

export function findProcess(pid: number): ProcessInfo | null {
  if (platform() === "linux") return readProc(pid);
  return listFromPs().find((process) => process.pid === pid) ?? null;
}

function listFromProc(): ProcessInfo[] {
  const found: ProcessInfo[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const info = readProc(Number(name));
    if (info !== null) found.push(info);
  }
  return found;
}

function readProc(pid: number): ProcessInfo | null {
  try {
    const parsed = parseProcStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
    if (parsed === null) return null;
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    return { pid, ...parsed, command };
  } catch {
    return null; // It ended while we looked.
  }
}

/** Fields of /proc/PID/stat (man 5 proc): state, ppid, pgrp, starttime. Null for a zombie. The name field may hold anything, so parse after it. */
export function parseProcStat(stat: string): { parentPid: number; groupPid: number; startedAt: string } | null {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, parentPid, groupPid] = fields;
  const startedAt = fields[19];
  if (state === undefined || parentPid === undefined || groupPid === undefined || startedAt === undefined) return null;
  if (state === "Z" || state === "X") return null;
  return { parentPid: Number(parentPid), groupPid: Number(groupPid), startedAt };
}

function listFromPs(): ProcessInfo[] {
  const text = execFileSync("ps", ["-axww", "-o", "pid=,ppid=,pgid=,stat=,lstart=,command="], {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
    maxBuffer: 64 * 1024 * 1024,
  });
  return text.split("\n").flatMap((line) => parsePsLine(line) ?? []);
}

/** `ps` line: pid ppid pgid stat, five words of lstart, command. */
export function parsePsLine(line: string): ProcessInfo | null {
  const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s+(.*)$/.exec(line);
  if (match === null) return null;
  const [, pid, parentPid, groupPid, state, startedAt, command] = match;
  if (state?.startsWith("Z") === true) return null;
  return {
    pid: Number(pid),
    parentPid: Number(parentPid),
    groupPid: Number(groupPid),
    startedAt: (startedAt ?? "").replaceAll(/\s+/g, " "),
    command: command ?? "",
  };
}
