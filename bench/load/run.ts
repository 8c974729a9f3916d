import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { z } from "zod";
import { CliError, EXIT } from "../../src/cli/frame/exit.ts";
import type { Path } from "../core/types.ts";
import type { Job } from "./jobs.ts";

/** Where a path's requests go, for jobs: address, and the authority that names the tenant. */
export async function reachOf(
  path: Pick<Path, "url" | "headers">,
): Promise<{ host: string; port: number; authority: string }> {
  const url = new URL(path.url);
  return { host: url.hostname, port: Number(url.port), authority: (await path.headers())["host"] ?? url.host };
}

/** A load child under way. */
export interface RunningJob<T> {
  readonly outcome: Promise<T>;
  /** Ends what holds until it is told ("stall"), and waits for the process to be gone. */
  end(): Promise<void>;
}

export function startJob<T>(job: Job, outcome: z.ZodType<T>): RunningJob<T> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "child.ts")], { stdio: ["pipe", "pipe", "pipe"] });
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.stdin.on("error", () => undefined); // it has exited: the outcome says why
  child.stdin.write(`${JSON.stringify(job)}\n`);
  return {
    outcome: firstLine(child, job.kind).then((line) => outcome.parse(JSON.parse(line))),
    async end() {
      child.stdin.end();
      await exited;
    },
  };
}

export async function runJob<T>(job: Job, outcome: z.ZodType<T>): Promise<T> {
  const running = startJob(job, outcome);
  try {
    return await running.outcome;
  } finally {
    await running.end();
  }
}

function firstLine(child: ChildProcess, kind: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let stderr = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    if (child.stdout !== null) createInterface({ input: child.stdout }).once("line", resolve);
    child.once("close", () => reject(new CliError(EXIT.failed, `The ${kind} load ended without a result: ${stderr}`)));
  });
}
