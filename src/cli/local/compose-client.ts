import { execFile, spawnSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { CONTAINERS } from "../build/containers.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { DOCKER_ANSWER_TIMEOUT_MS, FAILURE_LOG_LINES } from "../limits.ts";
import { type ComposePaths, projectName } from "./compose-files.ts";
import { PACKAGE_ROOT } from "./paths.ts";

const COMPOSE_FILE = join(PACKAGE_ROOT, "local-stack/compose.yaml");

/** The client that is there: `docker compose`, else `docker-compose`; null without either. */
export function composeCommand(): readonly [string, ...string[]] | null {
  if (works("docker", "compose", "version")) return ["docker", "compose"];
  return works("docker-compose", "version") ? ["docker-compose"] : null;
}

/** Whether a Docker engine answers. */
export const engineAnswers = (): boolean => works("docker", "info");

function works(program: string, ...args: readonly string[]): boolean {
  const { status } = spawnSync(program, args, { stdio: "ignore", timeout: DOCKER_ANSWER_TIMEOUT_MS });
  return status === 0;
}

/** Docker's own settings pass; variables of ours and of compose would win over the stack's `.env`. */
const PASSED_ENVIRONMENT = /^(?:PATH|HOME|USER|TMPDIR|LANG|LC_ALL|TZ|XDG_\w+|SSH_AUTH_SOCK|DOCKER_\w+|BUILDKIT_\w+)$/;

function dockerEnvironment(): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && PASSED_ENVIRONMENT.test(name)) passed[name] = value;
  }
  return passed;
}

export interface ComposeClient {
  /** Program and arguments of `compose ARGS` for this project, and the environment it needs. */
  command(...args: readonly string[]): { argv: readonly [string, ...string[]]; env: Record<string, string> };
  /** Runs `compose ARGS` to its end; what it says goes into the log. A failure is a CliError with its last lines. */
  run(args: readonly string[], signal?: AbortSignal): Promise<void>;
  /** The same at once and at any price, for a process that has no time left. Never throws. */
  runSync(args: readonly string[]): void;
  /** Containers of the project, running or not. */
  containers(): number;
  /** Removes images that the project built: those that a newer build has replaced, or all. */
  removeImages(which: "replaced" | "all"): void;
}

/** Null when there is no client, or no engine that answers. */
export function createComposeClient(paths: ComposePaths, logFile: string): ComposeClient | null {
  if (!engineAnswers()) return null;
  const client = composeCommand();
  if (client === null) return null;
  const project = projectName(paths.stateDir);
  const env = dockerEnvironment();
  const [program, ...flags] = client;
  const which = ["--project-name", project, "--env-file", paths.env, "--file", COMPOSE_FILE];
  const toArgs = (args: readonly string[]) => [...flags, ...which, ...args];
  const options = { cwd: PACKAGE_ROOT, env, encoding: "utf8" } as const;
  return {
    command: (...args) => ({ argv: [program, ...toArgs(args)], env }),
    async run(args, signal) {
      const write = (text: string) => appendFileSync(logFile, text, { mode: 0o600 });
      try {
        const said = await promisify(execFile)(program, toArgs(args), {
          ...options,
          maxBuffer: Number.POSITIVE_INFINITY,
          ...(signal === undefined ? {} : { signal }),
        });
        write(said.stdout + said.stderr);
      } catch (cause) {
        const said = textOf(cause, "stdout") + textOf(cause, "stderr");
        write(said);
        const lines = said.trim().split("\n").slice(-FAILURE_LOG_LINES);
        throw new CliError(
          EXIT.environment,
          `${client.join(" ")} ${args[0]} failed:\n${lines.map((line) => `    ${line}`).join("\n")}`,
          "The whole of what it said: npx causeway logs compose",
          { cause },
        );
      }
    },
    runSync(args) {
      spawnSync(program, toArgs(args), { ...options, stdio: "ignore" });
    },
    containers() {
      const label = `label=com.docker.compose.project=${project}`;
      const { stdout } = spawnSync("docker", ["ps", "--all", "--quiet", "--filter", label], options);
      return stdout.split("\n").filter((line) => line !== "").length;
    },
    removeImages(images) {
      if (images === "all")
        spawnSync("docker", ["image", "rm", ...CONTAINERS.map((name) => `${project}-${name}`)], options);
      // Without --all it removes only what has no name any more.
      spawnSync("docker", ["image", "prune", "--force", "--filter", `label=dev.causeway.project=${project}`], options);
    },
  };
}

const textOf = (cause: unknown, stream: "stdout" | "stderr"): string => {
  const found =
    typeof cause === "object" && cause !== null ? Object.entries(cause).find(([key]) => key === stream) : null;
  return typeof found?.[1] === "string" ? found[1] : "";
};
