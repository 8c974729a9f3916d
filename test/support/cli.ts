import { spawn } from "node:child_process";
import { join } from "node:path";

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const main = join(import.meta.dirname, "../../src/cli/main.ts");

/** Runs `causeway ARGS` to its end. The environment is the test's, without CAUSEWAY_* variables but for those given. */
export async function runCli(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd?: string,
): Promise<CliResult> {
  const child = spawnCli(args, env, cwd);
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { code, ...output };
}

/** Starts `causeway ARGS`; the caller ends it. */
export function spawnCli(args: readonly string[], env: Readonly<Record<string, string>> = {}, cwd?: string) {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("CAUSEWAY_") && name !== "NODE_OPTIONS",
  );
  return spawn(process.execPath, [main, ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
  });
}
