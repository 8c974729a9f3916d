import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { copyFile, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Logger } from "../../shared/log.ts";
import { LIMITS } from "../limits.ts";
import { processStart, signalGroup } from "./processes.ts";

/**
 * A process that outlives the agent: started detached, recorded by pid and start time, adopted by the next agent, started again with
 * backoff whenever it dies, and ended only when asked.
 */
export interface KeptProcess {
  pid(): number | null;
  /** Ends it (SIGTERM, then SIGKILL) and forgets it. */
  stop(): Promise<void>;
  /** Stops looking after it; it goes on running. */
  leave(): void;
}

export interface KeptProcessOptions {
  /** Holds process.json and output.log. One process a directory. */
  readonly dir: string;
  /** Called before every start: what to run then. */
  readonly command: () => Promise<{
    readonly argv: readonly string[];
    readonly env: Readonly<Record<string, string>>;
    readonly cwd?: string | undefined;
  }>;
  readonly log: Logger;
}

const record = z.object({ pid: z.number().int().positive(), startedAt: z.string() });
type ProcessRecord = z.infer<typeof record>;

const recordFile = (dir: string): string => join(dir, "process.json");

function readRecord(dir: string): ProcessRecord | null {
  try {
    return record.parse(JSON.parse(readFileSync(recordFile(dir), "utf8")));
  } catch {
    return null;
  }
}

const isAlive = ({ pid, startedAt }: ProcessRecord): boolean => processStart(pid) === startedAt;

/** Adopts what the directory's record names if it still runs, else starts it, and looks after it from then on. */
export async function keepProcess(options: KeptProcessOptions): Promise<KeptProcess> {
  const { dir, log } = options;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const logFile = join(dir, "output.log");
  let current: ProcessRecord | null = readRecord(dir);
  let startedMs = Date.now();
  let backoffMs: number = LIMITS.restartMinMs;
  let startAtMs = 0;
  let over = false;
  /** A start that is under way must end before the process can be stopped or left. */
  let starting: Promise<void> | null = null;
  let wake = new AbortController();

  const start = async (): Promise<void> => {
    const { argv, env, cwd } = await options.command();
    const [file = "", ...args] = argv;
    const output = openSync(logFile, "a", 0o600);
    try {
      const child = spawn(file, args, { env, cwd, detached: true, stdio: ["ignore", output, output] });
      child.on("error", (error) => log.error("process could not be started", { error: error.message }));
      child.on("exit", (code, signal) => {
        log.info("process ended", { pid: child.pid, code, signal });
        wake.abort();
      });
      child.unref();
      if (child.pid === undefined) return;
      const startedAt = processStart(child.pid);
      if (startedAt === null) return;
      current = { pid: child.pid, startedAt };
      startedMs = Date.now();
      writeFileSync(recordFile(dir), JSON.stringify(current), { mode: 0o600 });
      log.info("process started", { pid: child.pid });
    } finally {
      closeSync(output);
    }
  };

  const look = async (): Promise<void> => {
    if (current !== null && isAlive(current)) return boundLog(logFile);
    if (current !== null) {
      current = null;
      if (Date.now() - startedMs > LIMITS.restartForgetMs) backoffMs = LIMITS.restartMinMs;
      startAtMs = Date.now() + backoffMs;
      log.warn("process is gone and is started again", { inMs: backoffMs });
      backoffMs = Math.min(backoffMs * 2, LIMITS.restartMaxMs);
    }
    if (Date.now() < startAtMs) return;
    try {
      await start();
    } finally {
      if (current === null) {
        startAtMs = Date.now() + backoffMs;
        backoffMs = Math.min(backoffMs * 2, LIMITS.restartMaxMs);
      }
    }
  };

  const watch = async (): Promise<void> => {
    for (;;) {
      if (over) return;
      starting = look().catch((error: unknown) =>
        log.error("process could not be looked after", {
          error: error instanceof Error ? error.message : String(error),
        }),
      );
      await starting;
      starting = null;
      wake = new AbortController();
      const pauseMs = current === null ? Math.max(startAtMs - Date.now(), 0) : LIMITS.watchIntervalMs;
      const options = { ref: false, signal: wake.signal };
      if (!over) await sleep(Math.min(pauseMs, LIMITS.watchIntervalMs), undefined, options).catch(() => undefined);
    }
  };

  if (current !== null && isAlive(current)) log.info("process adopted", { pid: current.pid });
  else {
    current = null;
    await start().catch((error: unknown) =>
      log.error("process could not be started", { error: error instanceof Error ? error.message : String(error) }),
    );
  }
  void watch();
  return {
    pid: () => current?.pid ?? null,
    async stop() {
      over = true;
      wake.abort();
      await starting;
      await endRecorded(dir);
    },
    leave() {
      over = true;
      wake.abort();
    },
  };
}

/** Ends the process that a directory's record names, if it runs, and removes the record. Also for records of an agent that is gone. */
export async function endRecorded(dir: string): Promise<void> {
  const found = readRecord(dir);
  if (found !== null && isAlive(found)) {
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

/** The process writes to the file itself (so that it survives the agent), in append mode: emptying it under the writer is safe. */
async function boundLog(logFile: string): Promise<void> {
  const { size } = await stat(logFile);
  if (size <= LIMITS.logBytes) return;
  await copyFile(logFile, `${logFile}.1`);
  await truncate(logFile, 0);
}
