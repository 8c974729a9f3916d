import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The package's root: where package.json, the wrangler files and node_modules are. */
export const PACKAGE_ROOT = fileURLToPath(new URL("../../../", import.meta.url)).replace(/\/$/, "");

/** Compiled code of our own processes, so that they start (and start again) faster. Safe to delete. */
export const COMPILE_CACHE = join(PACKAGE_ROOT, "node_modules/.cache/causeway/node");

/** What the stack keeps, all in one folder, closed to other users (private-folder.ts). */
export interface StatePaths {
  readonly dir: string;
  /** What users' programs read: addresses and a token (contract: present exactly while the stack is ready). */
  readonly localJson: string;
  /** Held by the running supervisor; what `down` signals. */
  readonly lock: string;
  /** Processes of the running stack, to find the leftovers of a killed run. */
  readonly ledger: string;
  readonly status: string;
  readonly secrets: string;
  readonly ports: string;
  readonly logs: string;
  readonly postgres: string;
  readonly workers: string;
  readonly build: string;
  readonly workersConfig: string;
  readonly nodes: string;
  readonly connectors: string;
}

export function statePaths(dir: string): StatePaths {
  return {
    dir,
    localJson: join(dir, "local.json"),
    lock: join(dir, "supervisor.json"),
    ledger: join(dir, "pids.json"),
    status: join(dir, "status.json"),
    secrets: join(dir, "secrets.json"),
    ports: join(dir, "ports.json"),
    logs: join(dir, "logs"),
    postgres: join(dir, "postgres"),
    workers: join(dir, "workers"),
    build: join(dir, "build"),
    workersConfig: join(dir, "workers.json"),
    nodes: join(dir, "nodes"),
    connectors: join(dir, "connectors"),
  };
}

/** Where `causeway up` keeps its state: the flag, CAUSEWAY_STATE_DIR, else `.causeway` of the package. */
export function stateDirForUp(flag: string | undefined, env: NodeJS.ProcessEnv): string {
  return resolve(flag ?? env["CAUSEWAY_STATE_DIR"] ?? join(PACKAGE_ROOT, ".causeway"));
}

/** Where a stack is looked for: the flag, CAUSEWAY_STATE_DIR, the nearest `.causeway` from `cwd` upwards, else the package's. */
export function stateDirToRead(flag: string | undefined, env: NodeJS.ProcessEnv, cwd: string): string {
  const given = flag ?? env["CAUSEWAY_STATE_DIR"];
  if (given !== undefined) return resolve(given);
  for (let dir = resolve(cwd); ; dir = dirname(dir)) {
    const candidate = join(dir, ".causeway");
    if (existsSync(candidate)) return candidate;
    if (dir === dirname(dir)) return join(PACKAGE_ROOT, ".causeway");
  }
}
