import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { z } from "zod";
import { CliError, EXIT } from "../../src/cli/frame/exit.ts";

/** Closed loop: every connection sends its next GET when the last one was answered. */
export const load = z.object({
  url: z.string(),
  headers: z.record(z.string(), z.string()),
  connections: z.number(),
  /** Whole seconds: wrk takes no fractions. */
  seconds: z.number(),
});
export type Load = Readonly<z.infer<typeof load>>;

const loadOutcome = z.object({
  requests: z.number(),
  seconds: z.number(),
  /** autocannon's resolution is 1 ms, wrk's 1 µs. */
  p50Ms: z.number(),
  p99Ms: z.number(),
  /** Socket errors, timeouts (5 s) and answers that are no success. */
  failed: z.number(),
});
export type LoadOutcome = z.infer<typeof loadOutcome>;

export interface LoadGenerator {
  /** Name and version, for the report. */
  readonly title: string;
  /** Rejects with a CliError when the program fails; failed requests are part of the outcome. */
  run(load: Load): Promise<LoadOutcome>;
}

/** wrk when it is installed (it costs a third of the CPU), else autocannon, which comes with the dependencies. */
export function findLoadGenerator(): LoadGenerator {
  // `wrk -v` prints its version and usage, and exits with 1.
  const version = spawnSync("wrk", ["-v"], { encoding: "utf8" });
  const title = /^wrk \S+/.exec(version.stdout ?? "")?.[0];
  return title === undefined
    ? {
        title: "autocannon",
        run: (load) => run(process.execPath, [join(import.meta.dirname, "autocannon-child.ts")], load),
      }
    : { title, run: (load) => run("wrk", wrkArguments(load), load) };
}

export function wrkArguments(load: Load): string[] {
  const script = join(import.meta.dirname, "wrk-report.lua");
  return ["-t1", `-c${load.connections}`, `-d${load.seconds}s`, "--timeout", "5s", "-s", script, load.url];
}

/** For wrk-report.lua. wrk adds a Host of its own unless there is one in exactly this case. */
export function headerLines(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name === "host" ? "Host" : name}: ${value}`)
    .join("\n");
}

/** Null when the output has no result line, or one of another shape. */
export function parseOutcome(stdout: string): LoadOutcome | null {
  const line = /^JSON (\{.*\})$/m.exec(stdout)?.[1];
  if (line === undefined) return null;
  const parsed = loadOutcome.safeParse(JSON.parse(line));
  return parsed.success ? parsed.data : null;
}

function run(command: string, args: string[], load: Load): Promise<LoadOutcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, BENCH_HEADERS: headerLines(load.headers) },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdin.on("error", () => {}); // wrk does not read it
    child.stdin.end(JSON.stringify(load));
    child.on("error", (error) =>
      reject(new CliError(EXIT.environment, `Could not start ${command}: ${error.message}`)),
    );
    child.on("close", (code) => {
      const outcome = parseOutcome(stdout);
      if (outcome === null)
        reject(new CliError(EXIT.failed, `${command} gave no result (exit ${code}): ${stderr || stdout}`));
      else resolve(outcome);
    });
  });
}
