import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import migrate from "../../src/cli/commands/migrate.ts";
import { runCommandLine } from "../../src/cli/frame/command.ts";
import { EXIT } from "../../src/cli/frame/exit.ts";
import type { HealedWorkspaces } from "../../src/db/heal-workspaces.ts";
import { migrateControl } from "../../src/db/migrate-control.ts";
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

test("workspaces that are there twice, as in a database restored without its constraints, become one again (H53)", async () => {
  const heal = async (): Promise<HealedWorkspaces[]> => {
    const healed: HealedWorkspaces[] = [];
    await migrateControl(server.url("fresh"), { rolePasswords: passwords, onHealed: (each) => healed.push(each) });
    return healed;
  };
  expect(await heal()).toEqual([]);
  const admin = postgres(server.url("fresh"), { max: 1, onnotice: () => {} });
  await admin.unsafe(`
    alter table control.workspaces drop constraint workspaces_name_per_tenant;
    drop index control.workspaces_one_default;
    insert into control.clusters (id, name, base_domains, database_binding, database_address)
      values ('clu_1', 'one', '{one.example}', 'CLUSTER_DB_ONE', 'postgres://127.0.0.1/one');
    insert into control.tenants (id, slug, cluster_id, state)
      select 'ten_' || slug, slug, 'clu_1', 'active' from unnest('{twice,two-defaults,none,well}'::text[]) slug;
    insert into control.workspaces (id, tenant_id, name, is_default, created_at) values
      ('wks_new', 'ten_twice', 'default', true, '2026-02-02'), ('wks_old', 'ten_twice', 'default', true, '2026-01-01'),
      ('wks_third', 'ten_twice', 'default', false, '2025-01-01'), ('wks_labs', 'ten_twice', 'labs', false, '2026-01-01'),
      ('wks_a', 'ten_two-defaults', 'alpha', true, '2026-01-01'), ('wks_b', 'ten_two-defaults', 'default', true, '2026-02-02'),
      ('wks_well', 'ten_well', 'default', true, '2026-01-01');
    insert into control.services (tenant_id, workspace_id, name, driver) values
      ('ten_twice', 'wks_old', 'app', '{"kind":"process","command":"kept"}'),
      ('ten_twice', 'wks_new', 'app', '{"kind":"process","command":"lost"}'),
      ('ten_twice', 'wks_new', 'extra', '{"kind":"process","command":"moved"}')`);
  expect(await heal()).toEqual([{ duplicates: 2, defaults: 2 }]);
  expect(
    await admin`select tenant_id, name, is_default from control.workspaces order by tenant_id, name`.values(),
  ).toEqual([
    ["ten_none", "default", true],
    ["ten_twice", "default", true],
    ["ten_twice", "labs", false],
    ["ten_two-defaults", "alpha", false],
    ["ten_two-defaults", "default", true],
    ["ten_well", "default", true],
  ]);
  expect(
    await admin`select workspace_id, name, driver->>'command' as c from control.services order by name`.values(),
  ).toEqual([
    ["wks_old", "app", "kept"],
    ["wks_old", "extra", "moved"],
  ]);
  // Its node is told, once; a second start finds nothing to mend, and the database refuses such entries again.
  const told = () => admin`select kind, subject_id from control.operations`.values();
  expect(await told()).toEqual([["tenant-services", "ten_twice"]]);
  expect(await heal()).toEqual([]);
  expect(await told()).toHaveLength(1);
  const again = (name: string, isDefault: boolean) =>
    admin`insert into control.workspaces (id, tenant_id, name, is_default) values ('wks_x', 'ten_well', ${name}, ${isDefault})`;
  await expect(again("default", false)).rejects.toMatchObject({ code: "23505" });
  await expect(again("other", true)).rejects.toMatchObject({ code: "23505" });
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
