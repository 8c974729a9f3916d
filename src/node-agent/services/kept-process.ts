import { copyFile, stat, truncate } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../shared/log.ts";
import { LIMITS } from "../limits.ts";
import { endRecorded, isAlive, outputFile, runningIn, startRecorded, type Command } from "./recorded-process.ts";

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
  readonly command: () => Promise<Command>;
  readonly log: Logger;
}

/** Adopts what the directory's record names if it still runs, else starts it, and looks after it from then on. */
export async function keepProcess(options: KeptProcessOptions): Promise<KeptProcess> {
  const { dir, log } = options;
  let current = runningIn(dir);
  let startedMs = Date.now();
  let backoffMs: number = LIMITS.restartMinMs;
  let startAtMs = 0;
  let over = false;
  /** A start that is under way must end before the process can be stopped or left. */
  let starting: Promise<void> | null = null;
  let wake = new AbortController();

  const start = async (): Promise<void> => {
    current = await startRecorded(dir, await options.command(), () => wake.abort(), log);
    startedMs = Date.now();
  };

  const look = async (): Promise<void> => {
    if (current !== null && isAlive(current)) return boundLog(outputFile(dir));
    if (current !== null) {
      current = null;
      if (Date.now() - startedMs > LIMITS.restartForgetMs) backoffMs = LIMITS.restartMinMs;
      startAtMs = Date.now() + backoffMs;
      log.warn("process is gone and is started again", { inMs: backoffMs, output: outputFile(dir) });
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

  if (current !== null) log.info("process adopted", { pid: current.pid });
  else {
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

/** The process writes to the file itself (so that it survives the agent), in append mode: emptying it under the writer is safe. */
async function boundLog(logFile: string): Promise<void> {
  const { size } = await stat(logFile);
  if (size <= LIMITS.logBytes) return;
  await copyFile(logFile, `${logFile}.1`);
  await truncate(logFile, 0);
}
