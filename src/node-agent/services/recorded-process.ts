import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Logger } from "../../shared/log.ts";
import { LIMITS } from "../limits.ts";
import { processStart, signalGroup } from "./processes.ts";

/** A process on record in a directory of its own: `process.json` (pid and start time) for whoever comes later, `output.log` for people. */
const record = z.object({ pid: z.number().int().positive(), startedAt: z.string() });
export type ProcessRecord = z.infer<typeof record>;

export interface Command {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string | undefined;
  /** For a program that ends together with whoever started it, as Envoy with hot restart does. Linux only. */
  readonly asOrphan?: boolean;
}

const recordFile = (dir: string): string => join(dir, "process.json");
export const outputFile = (dir: string): string => join(dir, "output.log");

export function readRecord(dir: string): ProcessRecord | null {
  try {
    return record.parse(JSON.parse(readFileSync(recordFile(dir), "utf8")));
  } catch {
    return null;
  }
}

export const isAlive = ({ pid, startedAt }: ProcessRecord): boolean => processStart(pid) === startedAt;

/** What the directory's record names, if it runs. */
export function runningIn(dir: string): ProcessRecord | null {
  const found = readRecord(dir);
  return found !== null && isAlive(found) ? found : null;
}

/** Starts a process that outlives the agent. Null: it could not be started, or was gone at once; the log says why. */
export async function startRecorded(
  dir: string,
  command: Command,
  onExit: () => void,
  log: Logger,
): Promise<ProcessRecord | null> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const output = openSync(outputFile(dir), "a", 0o600);
  try {
    const pid =
      command.asOrphan === true ? await spawnOrphan(command, output) : spawnChild(command, output, onExit, log);
    const startedAt = pid === null ? null : processStart(pid);
    if (pid === null || startedAt === null) return null;
    const started = { pid, startedAt };
    writeFileSync(recordFile(dir), JSON.stringify(started), { mode: 0o600 });
    log.info("process started", { pid });
    return started;
  } finally {
    closeSync(output);
  }
}

function spawnChild({ argv, env, cwd }: Command, output: number, onExit: () => void, log: Logger): number | null {
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { env, cwd, detached: true, stdio: ["ignore", output, output] });
  child.on("error", (error) => log.error("process could not be started", { error: error.message }));
  child.on("exit", (code, signal) => {
    log.info("process ended", { pid: child.pid, code, signal });
    onExit();
  });
  child.unref();
  return child.pid ?? null;
}

/** The program begins only when the shell between is gone, so that it never sees a parent of ours. Its pid stays that of the subshell. */
const ORPHAN = `( while kill -0 $$ 2>/dev/null; do sleep 0.01; done; exec setsid "$@" ) >&2 & echo $!`;

function spawnOrphan({ argv, env, cwd }: Command, output: number): Promise<number | null> {
  const path = { PATH: process.env["PATH"] ?? "" };
  const shell = spawn("/bin/sh", ["-c", ORPHAN, "sh", ...argv], {
    env: { ...path, ...env },
    cwd,
    detached: true,
    stdio: ["ignore", "pipe", output],
  });
  return new Promise((resolve) => {
    let said = "";
    shell.stdout?.on("data", (part: Buffer) => (said += part.toString()));
    shell.on("error", () => resolve(null));
    shell.on("close", () => resolve(/^\d+\n$/.test(said) ? Number(said) : null));
  });
}

/** Ends the process that a directory's record names, if it runs, and removes the record. Also for records of an agent that is gone. */
export async function endRecorded(dir: string): Promise<void> {
  const found = runningIn(dir);
  if (found !== null) {
    signalGroup(found.pid, "SIGTERM");
    const deadline = Date.now() + LIMITS.stopGraceMs;
    while (isAlive(found) && Date.now() < deadline) await sleep(20);
    if (isAlive(found)) {
      signalGroup(found.pid, "SIGKILL");
      while (isAlive(found)) await sleep(20);
    }
  }
  rmSync(recordFile(dir), { force: true });
}
