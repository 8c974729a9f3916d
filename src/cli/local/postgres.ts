import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import postgres from "postgres";
import { CliError, EXIT } from "../frame/exit.ts";
import type { PartSpec } from "./part.ts";
import type { PostgresInstallation } from "./postgres-binaries.ts";

export const CONTROL_DATABASE = "causeway";
/** Tenants' schemas of the cluster "default". */
export const CLUSTER_DATABASE = "causeway_default";
const SUPERUSER = "postgres";

export interface PostgresUrls {
  /** As superuser; for migrations and psql. */
  readonly url: (database: string) => string;
  /** As another role; both databases exist. */
  readonly urlAs: (role: string, password: string, database: string) => string;
}

interface LocalPostgres extends PostgresUrls {
  readonly spec: PartSpec;
}

export function postgresUrls(port: number, superuserPassword: string): PostgresUrls {
  const urlAs = (role: string, secret: string, database: string) =>
    `postgres://${role}:${encodeURIComponent(secret)}@127.0.0.1:${port}/${database}`;
  return { urlAs, url: (database) => urlAs(SUPERUSER, superuserPassword, database) };
}

/** Whether the server takes a login and answers; rejects while it does not. */
export async function accepts(url: string): Promise<true> {
  const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => {} });
  try {
    await sql`SELECT 1`;
    return true;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Where the data lies: in the state folder, or where the user that Postgres runs as can reach it. */
export function dataDir(stateDir: string, installation: PostgresInstallation): string {
  if (installation.reachableDir === null) return join(stateDir, "postgres");
  return join(installation.reachableDir, createHash("sha256").update(stateDir).digest("hex").slice(0, 16), "postgres");
}

/** Makes the data folder on the first start, and describes the part. The password is the superuser's, random per stack. */
export async function preparePostgres(
  stateDir: string,
  installation: PostgresInstallation,
  port: number,
  password: string,
): Promise<LocalPostgres> {
  const data = dataDir(stateDir, installation);
  if (!existsSync(join(data, "PG_VERSION"))) await initialise(data, installation, password);
  const urls = postgresUrls(port, password);
  const settings = {
    port: String(port),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "200",
    // Passwords here are 32 random bytes: stretching them protects nothing, and the portal logs in for every request (Hyperdrive pools, the
    // local stand-in does not).
    scram_iterations: "1",
    logging_collector: "off",
    log_min_messages: "warning",
    // Statements can hold passwords (CREATE ROLE takes no parameters).
    log_min_error_statement: "panic",
    log_parameter_max_length_on_error: "0",
  };
  const spec: PartSpec = {
    name: "postgres",
    tier: 0,
    command: installation.postgres,
    args: ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    cwd: "/",
    ...(installation.user === null ? {} : { user: installation.user }),
    ready: () => accepts(urls.url("postgres")),
    // "Fast shutdown": ends sessions, writes a checkpoint. SIGTERM would wait for every client.
    stopSignal: "SIGINT",
    groupDiesWithIt: true,
  };
  return { spec, ...urls };
}

/** `initdb` into a folder beside, renamed when it is whole: a start killed in the middle leaves nothing that looks like data. */
async function initialise(data: string, installation: PostgresInstallation, password: string): Promise<void> {
  const temporary = `${data}.init`;
  rmSync(temporary, { recursive: true, force: true });
  rmSync(data, { recursive: true, force: true });
  mkdirSync(dirname(data), { recursive: true, mode: 0o711 });
  if (installation.user !== null) chmodSync(dirname(data), 0o711); // Its user must get through, nobody may list.
  mkdirSync(temporary, { mode: 0o700 });
  // Beside the data: the folder for temporary files may be closed to the user that Postgres runs as.
  const passwordFile = `${temporary}.password`;
  rmSync(passwordFile, { force: true });
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600, flag: "wx" });
  try {
    const { user } = installation;
    if (user !== null) {
      chownSync(temporary, user.uid, user.gid);
      chownSync(passwordFile, user.uid, user.gid);
    }
    const flags = ["-D", temporary, "-U", SUPERUSER, `--pwfile=${passwordFile}`, "--auth=scram-sha-256"];
    await promisify(execFile)(
      installation.initdb,
      [...flags, "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"],
      {
        cwd: "/",
        ...user,
      },
    );
  } catch (cause) {
    rmSync(temporary, { recursive: true, force: true });
    throw new CliError(
      EXIT.environment,
      `Postgres could not make its data folder ${data}: ${cause instanceof Error ? cause.message : String(cause)}`,
      "Is the disk full or the folder not writable? npx causeway up --state-dir DIR takes another one.",
      { cause },
    );
  } finally {
    rmSync(passwordFile, { force: true });
  }
  renameSync(temporary, data);
}

/** Creates the databases that are missing. */
export async function createDatabases(local: PostgresUrls): Promise<void> {
  const sql = postgres(local.url("postgres"), { max: 1, onnotice: () => {} });
  try {
    const there = await sql<{ datname: string }[]>`SELECT datname FROM pg_database`;
    const names = new Set(there.map((row) => row.datname));
    for (const name of [CONTROL_DATABASE, CLUSTER_DATABASE]) {
      if (!names.has(name)) await sql.unsafe(`CREATE DATABASE ${name}`);
    }
  } finally {
    await sql.end({ timeout: 5 });
  }
}
