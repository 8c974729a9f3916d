import { linkSync, rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { PROCESS_POLL_MS, REAP_GRACE_MS, REAP_TIMEOUT_MS } from "../limits.ts";
import { readJson, writeJson } from "./files.ts";
import { type ProcessInfo, findProcess, listProcesses } from "./process-table.ts";

/**
 * The processes of a stack on disk, written before anything can be lost: a stack that was killed leaves its children behind, still
 * serving its ports. A pid alone says nothing later, so start time and command line are kept with it.
 */
const entry = z.object({
  part: z.string(),
  pid: z.number().int().positive(),
  startedAt: z.string(),
  command: z.string(),
});
const ledgerFile = z.object({ processes: z.array(entry) });
export type LedgerEntry = z.infer<typeof entry>;

export const readLedger = (path: string): readonly LedgerEntry[] => readJson(path, ledgerFile)?.processes ?? [];

export interface Ledger {
  /** Records a process that runs now; nothing happens if it has ended already. */
  add(part: string, pid: number): void;
  remove(pid: number): void;
  /** Nothing runs any more. */
  clear(): void;
}

export function openLedger(path: string): Ledger {
  const processes = new Map<number, LedgerEntry>();
  const save = () => writeJson(path, { processes: [...processes.values()] });
  save();
  return {
    add(part, pid) {
      const found = describe(part, pid);
      if (found === null) return;
      processes.set(pid, found);
      save();
    },
    remove(pid) {
      if (processes.delete(pid)) save();
    },
    clear: () => rmSync(path, { force: true }),
  };
}

function describe(part: string, pid: number): LedgerEntry | null {
  const found = findProcess(pid);
  return found === null ? null : { part, pid, startedAt: found.startedAt, command: found.command };
}

/** The supervisor that holds this state folder, if it still runs. */
export function lockHolder(lockPath: string): LedgerEntry | null {
  const holder = readJson(lockPath, entry);
  return holder !== null && isAlive(holder) ? holder : null;
}

/** Takes the state folder for this process. False when another one has it; a dead one's lock is taken over. */
export function takeLock(lockPath: string): boolean {
  const self = describe("supervisor", process.pid);
  if (self === null) throw new Error("this process is not in the process table");
  if (lockHolder(lockPath) !== null) return false;
  rmSync(lockPath, { force: true });
  const prepared = `${lockPath}.${process.pid}`;
  writeJson(prepared, self);
  try {
    linkSync(prepared, lockPath); // Fails when another start was faster, and the file is whole from its first moment.
    return true;
  } catch {
    return false;
  } finally {
    rmSync(prepared, { force: true });
  }
}

/** Whether the recorded process is still that one, not a stranger with the same pid. */
export function isSame(recorded: LedgerEntry, running: ProcessInfo | null | undefined): boolean {
  return (
    running !== null &&
    running !== undefined &&
    running.pid === recorded.pid &&
    running.startedAt === recorded.startedAt &&
    running.command === recorded.command
  );
}

export const isAlive = (recorded: LedgerEntry): boolean => isSame(recorded, findProcess(recorded.pid));

/**
 * All that is left of the recorded processes: they themselves, what they started (by parent or by process group), and, where a group's
 * leader is gone, those of its group whose command line bears one of our `marks` (a folder of ours).
 */
export function leftovers(
  recorded: readonly LedgerEntry[],
  running: readonly ProcessInfo[],
  marks: readonly string[],
): ProcessInfo[] {
  const byPid = new Map(running.map((process) => [process.pid, process]));
  const found = new Map<number, ProcessInfo>();
  const take = (process: ProcessInfo): void => {
    if (found.has(process.pid)) return;
    found.set(process.pid, process);
    for (const child of running) {
      if (child.parentPid === process.pid || child.groupPid === process.pid) take(child);
    }
  };
  for (const one of recorded) {
    const leader = byPid.get(one.pid);
    if (leader !== undefined && isSame(one, leader)) take(leader);
    else if (leader === undefined) {
      for (const process of running) {
        if (process.groupPid === one.pid && marks.some((mark) => process.command.includes(mark))) take(process);
      }
    }
  }
  return [...found.values()];
}

/** Ends what a killed run left behind: SIGTERM, a moment, SIGKILL. Answers what it ended. */
export async function reapLeftovers(path: string, marks: readonly string[]): Promise<ProcessInfo[]> {
  const victims = leftovers(readLedger(path), listProcesses(), marks).filter((victim) => victim.pid !== process.pid);
  await endProcesses(victims, REAP_GRACE_MS);
  return victims;
}

/** Ends exactly these processes (each checked again by its start time before every signal). */
export async function endProcesses(victims: readonly ProcessInfo[], graceMs: number): Promise<void> {
  const still = () =>
    victims.filter((victim) => {
      const now = findProcess(victim.pid);
      return now !== null && now.startedAt === victim.startedAt;
    });
  for (const victim of still()) signal(victim.pid, "SIGTERM");
  await untilEmpty(still, graceMs);
  for (const victim of still()) signal(victim.pid, "SIGKILL");
  await untilEmpty(still, REAP_TIMEOUT_MS);
}

async function untilEmpty(list: () => readonly unknown[], timeoutMs: number): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (list().length > 0 && Date.now() < end) await delay(PROCESS_POLL_MS);
}

/** A signal to a process, or to a whole group by its negative pid. False when there is none any more. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
