import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrateControl } from "../../src/db/migrate-control.ts";
import { dropTenantSchema, ensureTenantSchema, tenantDatabaseUrl } from "../../src/db/tenant-database.ts";
import { MigrationChanged } from "../../src/db/migrate.ts";
import { controlMigrations } from "../../src/db/migrations/control.ts";
import { tenantMigrations } from "../../src/db/migrations/tenant.ts";
import { newId } from "../../src/shared/ids.ts";
import { tenantGroupName } from "../../src/db/identifiers.ts";
import { SERVICE_ROLES } from "../../src/db/roles.ts";
import { ROLE_PASSWORDS, startPostgres } from "../support/postgres.ts";
import type { TestPostgres } from "../support/postgres.ts";

let server: TestPostgres;
let database: string;
const clients: postgres.Sql[] = [];

beforeAll(async () => {
  server = await startPostgres();
  database = await server.createDatabase();
});

afterAll(async () => {
  for (const client of clients) await client.end();
  await server.stop();
});

function client(url: string, max = 2): postgres.Sql {
  const sql = postgres(url, { max, onnotice: () => {} });
  clients.push(sql);
  return sql;
}

/** A control database beside the tenants' one, as the local stack has it. */
async function controlDatabase(): Promise<string> {
  const name = "causeway_control_alone";
  await client(server.url("postgres")).unsafe(`create database ${name}`);
  await migrateControl(server.url(name), { rolePasswords: ROLE_PASSWORDS });
  return name;
}

const as = (role: keyof typeof ROLE_PASSWORDS) =>
  client(server.url(database, { user: role, password: ROLE_PASSWORDS[role] }));

async function makeTenant(label: string): Promise<{ tenantId: string; sql: postgres.Sql }> {
  const tenantId = newId("ten");
  await ensureTenantSchema(as("causeway_provisioner"), { tenantId, label, password: "secret-of-tenant" });
  const address = `postgres://127.0.0.1:${server.port}/${database}`;
  return { tenantId, sql: client(tenantDatabaseUrl(address, tenantId, "secret-of-tenant")) };
}

describe("tenant schemas", () => {
  test("a tenant gets a schema and a role of its own, at the current level (D13, G10, G15)", async () => {
    const { tenantId, sql } = await makeTenant("acme@default");
    await sql`insert into settings (key, value) values ('colour', '"blue"')`;
    expect(await sql`select key from settings`).toEqual([{ key: "colour" }]);
    const [schema] = await sql`select current_user, current_schema as schema`;
    expect(schema).toEqual({ current_user: tenantId, schema: tenantId });
    const ledger = await sql`select name from causeway_migrations order by name`;
    expect(ledger.map((row) => row["name"])).toEqual(tenantMigrations.map((migration) => migration.name));
  });

  test("a role can't read, write or enter another tenant's schema, nor control data or accounts (G11)", async () => {
    const a = await makeTenant("a@default");
    const b = await makeTenant("b@default");
    await b.sql`insert into documents (title, body) values ('plan', 'secret')`;
    for (const statement of [
      `select * from "${b.tenantId}".documents`,
      `insert into "${b.tenantId}".settings (key, value) values ('x', '1')`,
      `drop schema "${b.tenantId}" cascade`,
      `set role "${b.tenantId}"`,
      `create schema mine`,
      `create table public.mine (id int)`,
      `create role more`,
      `select * from control.tenants`,
      `select * from portal."user"`,
      `select * from causeway.migrations`,
    ])
      await expect(a.sql.unsafe(statement), statement).rejects.toMatchObject({ code: "42501" });
    expect(await b.sql`select title from documents`).toEqual([{ title: "plan" }]);
  });

  test("a role gets into no other database, makes nothing outside its schema and can't become its group (G11)", async () => {
    const { tenantId, sql } = await makeTenant("locked@default");
    const control = await controlDatabase();
    for (const name of [control, "postgres", "template1"]) {
      const login = { user: tenantId, password: "secret-of-tenant" };
      await expect(client(server.url(name, login))`select 1`, name).rejects.toMatchObject({ code: "42501" });
    }
    for (const statement of [
      `create temp table mine (id int)`,
      `set role "${tenantGroupName(database)}"`,
      `select lo_create(0)`,
      `select lo_creat(-1)`,
      `select lo_from_bytea(0, '')`,
    ])
      await expect(sql.unsafe(statement), statement).rejects.toMatchObject({ code: "42501" });
    // Ours still get in.
    for (const role of SERVICE_ROLES) {
      const login = { user: role, password: ROLE_PASSWORDS[role] };
      expect(await client(server.url(control, login))`select current_user as role`).toEqual([{ role }]);
    }
  });

  test("making a tenant again keeps its data (G13)", async () => {
    const { tenantId, sql } = await makeTenant("again@default");
    await sql`insert into documents (title, body) values ('kept', '')`;
    const applied = await ensureTenantSchema(as("causeway_provisioner"), {
      tenantId,
      label: "again@default",
      password: "secret-of-tenant",
    });
    expect(applied).toEqual([]);
    expect(await sql`select title from documents`).toEqual([{ title: "kept" }]);
  });

  test("twenty tenants made at once are all made at once", async () => {
    const login = { user: "causeway_provisioner", password: ROLE_PASSWORDS.causeway_provisioner };
    const sql = client(server.url(database, login), 10);
    const made = Array.from({ length: 20 }, () => newId("ten"));
    await Promise.all(
      made.map((tenantId) =>
        ensureTenantSchema(sql, { tenantId, label: "many@default", password: "secret-of-tenant" }),
      ),
    );
    const [row] = await sql`select count(*)::int as n from pg_namespace where nspname in ${sql(made)}`;
    expect(row).toEqual({ n: 20 });
  });

  test("two runs at once make one schema", async () => {
    const tenant = { tenantId: newId("ten"), label: "twice@default", password: "secret-of-tenant" };
    const outcomes = await Promise.allSettled([
      ensureTenantSchema(as("causeway_provisioner"), tenant),
      ensureTenantSchema(as("causeway_provisioner"), tenant),
    ]);
    // The loser of the race for the role may fail; it is retried like any step.
    expect(outcomes.some((outcome) => outcome.status === "fulfilled")).toBe(true);
    await ensureTenantSchema(as("causeway_provisioner"), tenant);
    const [row] = await client(server.url(database))`
      select count(*)::int as n from information_schema.tables where table_schema = ${tenant.tenantId}`;
    expect(row).toEqual({ n: 3 });
  });

  test("a name that is not a tenant's id makes nothing (G12)", async () => {
    const label = "x@default";
    for (const tenantId of ["acme", 'ten_"; drop schema control; --', `ten_${"a".repeat(70)}`, ""])
      await expect(ensureTenantSchema(as("causeway_provisioner"), { tenantId, label, password: "p" })).rejects.toThrow(
        "not a tenant id",
      );
  });

  test("a failing migration leaves nothing of itself and touches no other tenant (G14)", async () => {
    const well = await makeTenant("well@default");
    const tenantId = newId("ten");
    const broken = [...tenantMigrations, { name: "9999_broken", sql: "create table half (id int);\nselect 1 / 0" }];
    await expect(
      ensureTenantSchema(as("causeway_provisioner"), { tenantId, label: "ill@default", password: "p" }, broken),
    ).rejects.toThrow("division by zero");
    const admin = client(server.url(database));
    expect(
      await admin`select table_name from information_schema.tables where table_schema = ${tenantId} and table_name = 'half'`,
    ).toEqual([]);
    expect(await well.sql`select count(*)::int as n from documents`).toEqual([{ n: 0 }]);
    // Mended, it goes on from there.
    expect(
      await ensureTenantSchema(as("causeway_provisioner"), { tenantId, label: "ill@default", password: "p" }),
    ).toEqual([]);
  });

  test("a migration can't leave its tenant's schema", async () => {
    const other = await makeTenant("other@default");
    const evil = [{ name: "0000_evil", sql: `drop table "${other.tenantId}".documents` }];
    await expect(
      ensureTenantSchema(
        as("causeway_provisioner"),
        { tenantId: newId("ten"), label: "evil@default", password: "p" },
        evil,
      ),
    ).rejects.toMatchObject({ code: "42501" });
  });

  test("dropping a tenant drops exactly its schema and role (G16)", async () => {
    const gone = await makeTenant("gone@default");
    const stays = await makeTenant("stays@default");
    await gone.sql.end();
    await dropTenantSchema(as("causeway_provisioner"), gone.tenantId);
    await dropTenantSchema(as("causeway_provisioner"), gone.tenantId);
    const admin = client(server.url(database));
    expect(await admin`select 1 from pg_namespace where nspname = ${gone.tenantId}`).toEqual([]);
    expect(await admin`select 1 from pg_roles where rolname = ${gone.tenantId}`).toEqual([]);
    expect(await stays.sql`select count(*)::int as n from settings`).toEqual([{ n: 0 }]);
  });
});

describe("the control database", () => {
  test("migrating again applies nothing and changes nothing", async () => {
    expect(await migrateControl(server.url(database), { rolePasswords: ROLE_PASSWORDS })).toEqual([]);
  });

  test("is locked by an owner who is no superuser, and what is not the owner's stays as it is", async () => {
    const admin = client(server.url("postgres"));
    const owner = { user: "plain_owner", password: "owner-password" };
    await admin.unsafe(`create role plain_owner login createrole password 'owner-password'`);
    // The roles exist already on this server; to set their passwords takes the right to administer them.
    for (const role of SERVICE_ROLES) await admin.unsafe(`grant ${role} to plain_owner with admin option`);
    await admin.unsafe(`create database causeway_owned owner plain_owner`);
    await admin.unsafe(`grant connect on database template1 to public`);
    await migrateControl(server.url("causeway_owned", owner), { rolePasswords: ROLE_PASSWORDS });
    const open =
      await admin`select datname as name from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
      where grantee = 0 and privilege_type = 'CONNECT' and datname in ('causeway_owned', 'template1')`;
    expect(open).toEqual([{ name: "template1" }]);
    await client(server.url("causeway_owned", owner))`select 1`;
    await admin.unsafe(`revoke connect on database template1 from public`);
  });

  test("two migrate runs at once take turns", async () => {
    const name = "causeway_empty";
    await client(server.url("postgres")).unsafe(`create database ${name}`);
    const runs = await Promise.all(
      [1, 2].map(() => migrateControl(server.url(name), { rolePasswords: ROLE_PASSWORDS })),
    );
    const names = controlMigrations.map((migration) => migration.name);
    expect(runs.flat()).toEqual(names);
  });

  test("an applied migration that was edited afterwards is refused", async () => {
    const sql = client(server.url(database));
    const [row] = await sql`select hash from causeway.migrations order by name limit 1`;
    await sql`update causeway.migrations set hash = 'edited' where hash = ${row?.["hash"]}`;
    await expect(migrateControl(server.url(database), { rolePasswords: ROLE_PASSWORDS })).rejects.toThrow(
      MigrationChanged,
    );
    await sql`update causeway.migrations set hash = ${row?.["hash"]} where hash = 'edited'`;
  });

  test("there is a place for each entity, and a service's status is one of four (H100, H104)", async () => {
    const admin = client(server.url(database));
    const rows = await admin`
      select table_schema || '.' || table_name as name from information_schema.tables
      where table_schema in ('control', 'portal')`;
    const names = rows.map(({ name }) => String(name));
    const entities =
      "portal.organization portal.user portal.member control.tenants control.workspaces control.nodes control.clusters " +
      "control.credentials control.connectors control.connector_keys control.routes control.services control.operations " +
      "control.operation_steps control.outbox control.audit_events";
    expect(names).toEqual(expect.arrayContaining(entities.split(" ")));
    const [constraint] = await admin`
      select pg_get_constraintdef(oid) as text from pg_constraint where conname = 'services_status'`;
    expect(String(constraint?.["text"]).match(/'[A-Z]+'/g)).toEqual([
      "'RUNNING'",
      "'EXITED'",
      "'CREATED'",
      "'UNAVAILABLE'",
    ]);
  });

  test("each service role sees what it needs and nothing else", async () => {
    const console = as("causeway_console");
    const provisioner = as("causeway_provisioner");
    const portal = as("causeway_portal");
    await console`select * from control.tenants`;
    await provisioner`select * from control.credentials`;
    await portal`select * from portal.account`;
    for (const [role, statement] of [
      [console, "select * from control.credentials"],
      [console, "select * from portal.account"],
      [console, "create schema mine"],
      [console, "delete from control.audit_events"],
      [provisioner, "select * from control.api_tokens"],
      [provisioner, "select * from portal.session"],
      [portal, "select * from control.tenants"],
      [portal, "select * from control.api_tokens"],
    ] as const)
      await expect(role.unsafe(statement), statement).rejects.toMatchObject({ code: "42501" });
    const { tenantId } = await makeTenant("private@default");
    await expect(console.unsafe(`select * from "${tenantId}".documents`)).rejects.toMatchObject({ code: "42501" });
  });

  test("a wrong password does not log in", async () => {
    const url = server.url(database, { user: "causeway_console", password: "guess" });
    await expect(client(url)`select 1`).rejects.toMatchObject({ code: "28P01" });
  });
});
