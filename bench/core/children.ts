import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { CliError, EXIT } from "../../src/cli/frame/exit.ts";

/** How long a process may take to be ready; the machine may be busy with builds. */
const READY_TIMEOUT_MS = 30_000;
/** workerd keeps its port after SIGTERM while connections are open: what is not gone by then is killed. */
const STOP_TIMEOUT_MS = 1_000;

export interface Child {
  readonly name: string;
  readonly pid: number;
  /** Waits until `check` gives a value. Rejects with the end of the child's log when it exits, or after 30 s. */
  until<T>(check: () => Promise<T | null> | T | null): Promise<T>;
  readonly stop: () => Promise<void>;
  /** SIGKILL; resolves when the process is gone. */
  readonly kill: () => Promise<void>;
  /** Resolves when it is gone, whatever ended it. */
  readonly gone: Promise<void>;
  /** All that it has written so far. */
  log(): string;
  /** What the process writes to descriptor 3; null unless `control` was asked for. */
  readonly control: Readable | null;
}

/** Starts a process with its output in `<folder>/<name>.log`. */
export async function startChild(options: {
  readonly name: string;
  readonly folder: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly control?: boolean;
}): Promise<Child> {
  const { name, folder, command, args } = options;
  const logFile = join(folder, `${name}.log`);
  const log = openSync(logFile, "a");
  const child = spawn(command, [...args], {
    stdio: ["ignore", log, log, options.control === true ? "pipe" : "ignore"],
    env: { ...process.env, ...options.env },
  });
  closeSync(log);
  const pid = await new Promise<number>((resolve, reject) => {
    child.once("spawn", () => resolve(child.pid ?? 0));
    child.once("error", (error) => reject(new CliError(EXIT.environment, `Could not start ${name}: ${error.message}`)));
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const gone = () => child.exitCode !== null || child.signalCode !== null;
  const control = child.stdio[3];
  const failure = (what: string) =>
    new CliError(EXIT.failed, `${name} ${what}. The end of its log:\n${endOf(logFile)}`);
  return {
    name,
    pid,
    control: control instanceof Readable ? control : null,
    async until(check) {
      const end = performance.now() + READY_TIMEOUT_MS;
      for (;;) {
        const value = await check();
        if (value !== null) return value;
        if (gone()) throw failure(`exited (${child.exitCode ?? child.signalCode})`);
        if (performance.now() > end) throw failure(`was not ready within ${READY_TIMEOUT_MS / 1000} s`);
        await delay(20);
      }
    },
    stop: () => stop(child, gone, "SIGTERM"),
    kill: () => stop(child, gone, "SIGKILL"),
    gone: ended,
    log: () => readFileSync(logFile, "utf8"),
  };
}

async function stop(child: ChildProcess, gone: () => boolean, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  if (gone()) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

function endOf(file: string): string {
  return readFileSync(file, "utf8").trimEnd().split("\n").slice(-15).join("\n");
}

/** A port that was free a moment ago, for programs that can't say which one they got. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

/** Runs what stops the parts of a setup, last first; a part that can't be stopped does not keep the others. */
export async function stopAll(stops: readonly (() => Promise<void>)[]): Promise<void> {
  for (const stop of stops.toReversed()) await Promise.allSettled([stop()]);
}
