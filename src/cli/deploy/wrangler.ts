import { execFile } from "node:child_process";
import { join } from "node:path";
import { execPath } from "node:process";
import { promisify } from "node:util";
import { CliError, EXIT } from "../frame/exit.ts";
import { PACKAGE_ROOT } from "../local/paths.ts";
import { configPath } from "../workers/list.ts";

const WRANGLER = join(PACKAGE_ROOT, "node_modules/wrangler/bin/wrangler.js");
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** Always with -c (discovery prefers other files) and an absolute folder (a relative one would be below the file's). Answers its output. */
export async function wranglerDeploy(
  worker: { name: string; config: string },
  outDir: string,
  dryRun: boolean,
): Promise<string> {
  const args = [
    "deploy",
    "-c",
    configPath(worker),
    "--outdir",
    join(outDir, worker.name),
    "--tsconfig",
    join(PACKAGE_ROOT, "tsconfig.worker.json"),
  ];
  try {
    const { stdout } = await promisify(execFile)(execPath, [WRANGLER, ...args, ...(dryRun ? ["--dry-run"] : [])], {
      cwd: PACKAGE_ROOT,
      env: { ...process.env, WRANGLER_SEND_METRICS: "false", NO_COLOR: "1", FORCE_COLOR: "0" },
      maxBuffer: MAX_OUTPUT_BYTES,
    });
    return stdout;
  } catch (cause) {
    throw new CliError(
      EXIT.failed,
      `wrangler can't ${dryRun ? "build" : "deploy"} ${worker.name}:\n${wordsOf(cause)}`,
      null,
      { cause },
    );
  }
}

/** What wrangler needs to reach an account, without asking in a browser. */
export function accountProblems(env: NodeJS.ProcessEnv): string[] {
  const missing = ["CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"].filter((name) => (env[name] ?? "") === "");
  return missing.map((name) => `set ${name}`);
}

/** Names of the secrets that a deployed Worker has. A Worker that is not there yet has none. */
export async function secretNames(worker: { config: string }): Promise<Set<string>> {
  try {
    const { stdout } = await promisify(execFile)(
      execPath,
      [WRANGLER, "secret", "list", "-c", configPath(worker), "--format", "json"],
      {
        cwd: PACKAGE_ROOT,
        env: { ...process.env, WRANGLER_SEND_METRICS: "false", NO_COLOR: "1" },
      },
    );
    const listed: unknown = JSON.parse(stdout);
    return new Set(Array.isArray(listed) ? listed.flatMap((one: unknown) => nameOf(one) ?? []) : []);
  } catch {
    return new Set();
  }
}

const nameOf = (value: unknown): string | null =>
  typeof value === "object" && value !== null && "name" in value && typeof value.name === "string" ? value.name : null;

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const said = "stderr" in error && typeof error.stderr === "string" ? error.stderr.trim() : "";
  return said === "" ? error.message : said;
}
