import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream } from "node:fs";

/** Child processes of a test: their output goes to a file, and all that are left are ended with SIGKILL by `stopChildren`. */
const children = new Set<ChildProcess>();

export function startChild(
  argv: readonly string[],
  logFile: string,
  env: NodeJS.ProcessEnv = process.env,
): ChildProcess {
  const [command = "", ...args] = argv;
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const log = createWriteStream(logFile, { flags: "a" });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  child.once("exit", () => children.delete(child));
  children.add(child);
  return child;
}

export async function endChild(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await ended;
}

export async function stopChildren(): Promise<void> {
  await Promise.all([...children].map((child) => endChild(child, "SIGKILL")));
}
