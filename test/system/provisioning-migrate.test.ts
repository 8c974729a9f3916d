import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import migrate from "../../src/cli/commands/migrate.ts";
import { runCommandLine } from "../../src/cli/frame/command.ts";
import { EXIT } from "../../src/cli/frame/exit.ts";
import { controlMigrations } from "../../src/db/migrations/control.ts";
import { ROLE_PASSWORDS, startPostgres } from "../support/postgres.ts";
import type { TestPostgres } from "../support/postgres.ts";

let server: TestPostgres;
const folder = mkdtempSync(join(tmpdir(), "causeway-migrate-"));
const passwords = {
  causeway_console: "c".repeat(32),
  causeway_provisioner: "p".repeat(32),
  causeway_portal: "o".repeat(32),
};

beforeAll(async () => {
  server = await startPostgres();
  const admin = postgres(server.url("postgres"), { max: 1 });
  await admin`create database fresh`;
  await admin`create database tenants`;
  await admin.end();
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

async function run(settings: unknown, ...more: string[]) {
  const file = join(folder, "settings.json");
  writeFileSync(file, JSON.stringify(settings), { mode: 0o600 });
  let err = "";
  const io = { name: "causeway migrate", out: () => {}, err: (text: string) => void (err += text), colour: false };
  const code = await runCommandLine(migrate, ["--file", file, "--json", ...more], io);
  return { code, err };
}

test("a fresh database and a cluster's database are brought to the current level; once more changes nothing", async () => {
  const settings = {
    databaseUrl: server.url("fresh"),
    rolePasswords: passwords,
    clusterDatabaseUrls: [server.url("tenants")],
  };
  expect((await run(settings)).code).toBe(EXIT.ok);
  expect((await run(settings)).code).toBe(EXIT.ok);
  const login = { user: "causeway_provisioner", password: passwords.causeway_provisioner };
  const provisioner = postgres(server.url("fresh", login), { max: 1 });
  expect(await provisioner`select * from control.tenants`).toEqual([]);
  await provisioner.end();
  const cluster = postgres(server.url("tenants", login), { max: 1 });
  await cluster`create schema mine`;
  await cluster.end();
  const admin = postgres(server.url("fresh"), { max: 1 });
  const applied = await admin`select name from causeway.migrations order by name`;
  expect(applied.map(({ name }) => name)).toEqual(controlMigrations.map(({ name }) => name));
  await admin.end();
});

test("what is missing, wrong or out of reach has its own exit code, and no password is shown (Q03, Q05)", async () => {
  const fine = { databaseUrl: server.url("fresh"), rolePasswords: passwords };
  expect((await run({ ...fine, databaseUrl: undefined })).code).toBe(EXIT.usage);
  const short = await run({ ...fine, rolePasswords: { ...passwords, causeway_portal: "short-secret" } });
  expect(short).toMatchObject({ code: EXIT.usage, err: expect.stringContaining("rolePasswords.causeway_portal") });
  expect(short.err).not.toContain("short-secret");
  const away = await run({ ...fine, databaseUrl: "postgres://postgres:my-secret@127.0.0.1:1/fresh" });
  expect(away).toMatchObject({ code: EXIT.environment, err: expect.stringContaining("127.0.0.1:1") });
  expect(away.err).not.toContain("my-secret");
  const wrong = await run({ ...fine, databaseUrl: server.url("fresh", { user: "postgres", password: "my-guess" }) });
  expect(wrong).toMatchObject({ code: EXIT.authentication, err: expect.stringContaining("refused the login") });
  expect(wrong.err).not.toContain("my-guess");
  expect(Object.keys(ROLE_PASSWORDS).toSorted()).toEqual(Object.keys(passwords).toSorted());
});
