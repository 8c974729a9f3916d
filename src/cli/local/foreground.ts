import { appendFileSync, rmSync } from "node:fs";
import process from "node:process";
import { z } from "zod";
import { type Logger, createLogger } from "../../shared/log.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import type { Output } from "../frame/output.ts";
import { SECOND_SIGNAL_AFTER_MS } from "../limits.ts";
import type { UpstreamKind } from "./context.ts";
import { takeLock } from "./ledger.ts";
import type { LocalStack } from "./local-json.ts";
import { logPath } from "./log-files.ts";
import type { StatePaths } from "./paths.ts";
import { keepPrivate } from "./private-folder.ts";
import { type Progress, type StepEvent, createProgress } from "./progress.ts";
import { type RunningStack, killStack, startStack } from "./stack.ts";

export interface UpOptions {
  readonly paths: StatePaths;
  readonly edgePort: number;
  readonly fresh: boolean;
  readonly upstream: UpstreamKind;
  readonly output: Output;
}

/** Messages of a supervisor in the background to the command that started it. */
export type BackgroundMessage =
  | { readonly type: "step"; readonly event: StepEvent }
  | { readonly type: "ready" }
  | { readonly type: "failed"; readonly exitCode: number; readonly message: string; readonly hint: string | null };

/**
 * This process is the supervisor: starts the stack, keeps it running, and stops it on SIGINT, SIGTERM or SIGHUP. Ends with exit 130
 * after Ctrl-C, else 0.
 */
export async function runInForeground(options: UpOptions, onReady: (stack: LocalStack) => void): Promise<void> {
  const { paths, output } = options;
  const send = process.send?.bind(process);
  const background = process.env["CAUSEWAY_BACKGROUND"] === "1" && send !== undefined;
  const tell = (message: BackgroundMessage) => {
    if (background && process.connected) send(message);
  };
  keepPrivate(paths);
  if (!takeLock(paths.lock))
    throw new CliError(EXIT.refused, "the local stack is being started already", "npx causeway status shows it.");
  const stop = listenForSignals(() => killStack(paths));
  // A bug of ours must not leave processes behind.
  const crash = (error: unknown) => {
    console.error(error);
    killStack(paths);
    process.exit(EXIT.failed);
  };
  process.on("uncaughtException", crash);
  const progress = background
    ? { report: (event: StepEvent) => tell({ type: "step", event }), end: async () => {} }
    : createProgress(output, options.upstream);
  try {
    const log = supervisorLog(paths, background ? null : output);
    const stack = await started(options, progress, log, stop.signal);
    if (background) tell({ type: "ready" });
    else onReady(stack.local);
    await stop.raised;
    if (!background) output.say("Stopping ...");
    await stack.stop();
  } catch (error) {
    if (stop.signal.aborted) throw interrupted(stop.name());
    if (error instanceof CliError) {
      tell({ type: "failed", exitCode: error.exitCode, message: error.message, hint: error.hint });
    } else
      tell({
        type: "failed",
        exitCode: EXIT.failed,
        message: error instanceof Error ? (error.stack ?? "") : String(error),
        hint: null,
      });
    throw error;
  } finally {
    stop.close();
    process.off("uncaughtException", crash);
    rmSync(paths.lock, { force: true });
    if (background && process.connected) process.disconnect();
  }
  if (stop.name() === "SIGINT") throw interrupted("SIGINT");
}

/** The display ends with the start, however that ends: what follows is printed below it. */
async function started(
  options: UpOptions,
  progress: Progress,
  log: Logger,
  signal: AbortSignal,
): Promise<RunningStack> {
  try {
    return await startStack({ ...options, report: progress.report, log, signal });
  } finally {
    await progress.end();
  }
}

const interrupted = (name: NodeJS.Signals | null): CliError =>
  new CliError(
    EXIT.interrupted,
    name === "SIGINT" ? "stopped by Ctrl-C; everything is down" : "stopped; everything is down",
  );

function supervisorLog(paths: StatePaths, output: Output | null): Logger {
  return createLogger("supervisor", (line) => {
    appendFileSync(logPath(paths.logs, "supervisor"), `${line}\n`, { mode: 0o600 });
    if (output !== null) output.say(output.json ? line : readable(line));
  });
}

/** A log line as a person wants it: `warn: part ended, restarting it (subject=postgres, how=SIGKILL)`. */
function readable(line: string): string {
  const parsed: unknown = JSON.parse(line);
  const {
    level,
    msg,
    time: _time,
    part: _part,
    ...fields
  } = z.looseObject({ level: z.string(), msg: z.string() }).parse(parsed);
  const details = Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`);
  return `${level}: ${msg}${details.length === 0 ? "" : ` (${details.join(", ")})`}`;
}

interface StopRequest {
  readonly signal: AbortSignal;
  readonly raised: Promise<void>;
  readonly name: () => NodeJS.Signals | null;
  readonly close: () => void;
}

/** The first signal asks for a clean stop; a second one (not the double of the first) kills everything at once. */
function listenForSignals(kill: () => void): StopRequest {
  const controller = new AbortController();
  let name: NodeJS.Signals | null = null;
  let firstAtMs = 0;
  const listener = (received: NodeJS.Signals): void => {
    if (name === null) {
      name = received;
      firstAtMs = Date.now();
      controller.abort();
    } else if (Date.now() - firstAtMs > SECOND_SIGNAL_AFTER_MS) {
      kill();
      process.exit(EXIT.interrupted);
    }
  };
  const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const one of names) process.on(one, listener);
  const raised = new Promise<void>((resolve) => controller.signal.addEventListener("abort", () => resolve()));
  return {
    signal: controller.signal,
    raised,
    name: () => name,
    close: () => {
      for (const one of names) process.off(one, listener);
    },
  };
}
