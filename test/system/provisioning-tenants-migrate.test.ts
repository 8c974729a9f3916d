import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import postgres from "postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrateTenants } from "../../src/db/migrate-tenants.ts";
import type { TenantMigrated } from "../../src/db/migrate-tenants.ts";
import { tenantMigrations } from "../../src/db/migrations/tenant.ts";
import { ensureTenantSchema } from "../../src/db/tenant-database.ts";
import { newId } from "../../src/shared/ids.ts";
import { ROLE_PASSWORDS, startPostgres } from "../support/postgres.ts";
import type { TestPostgres } from "../support/postgres.ts";
import { ONE_MORE } from "./fixtures/migrate-tenants.ts";

const TENANTS = 60;
let server: TestPostgres;
let url: string;
let admin: postgres.Sql;
const made = Array.from({ length: TENANTS }, () => newId("ten"));

beforeAll(async () => {
  server = await startPostgres();
  const database = await server.createDatabase();
  url = server.url(database, { user: "causeway_provisioner", password: ROLE_PASSWORDS.causeway_provisioner });
  admin = postgres(server.url(database), { max: 2, onnotice: () => {} });
  const provisioner = postgres(url, { max: 8, onnotice: () => {} });
  for (let at = 0; at < TENANTS; at += 8)
    await Promise.all(
      made
        .slice(at, at + 8)
        .map((tenantId) => ensureTenantSchema(provisioner, { tenantId, label: "t@default", password: "secret" })),
    );
  await provisioner.end();
}, 60_000);

afterAll(async () => {
  await admin.end();
  await server.stop();
});

const migrated = async () =>
  (
    await admin`select table_schema as name from information_schema.columns
      where table_name = 'documents' and column_name = 'extra' order by table_schema`
  ).map(({ name }) => String(name));

async function run(): Promise<{ told: TenantMigrated[]; summary: Awaited<ReturnType<typeof migrateTenants>> }> {
  const told: TenantMigrated[] = [];
  const migrations = [...tenantMigrations, ONE_MORE];
  return { told, summary: await migrateTenants(url, (tenant) => void told.push(tenant), { migrations }) };
}

test("a run that is killed in the middle is taken up by the next one; one tenant that fails is told and holds up nobody (G14, G15)", async () => {
  const [ill = ""] = made;
  // Somebody made that column by hand.
  await admin.unsafe(`alter table "${ill}".documents add column extra int`);

  const child = spawn(process.execPath, [join(import.meta.dirname, "fixtures/migrate-tenants.ts")], {
    env: { PROVISIONER_URL: url },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  let lines = 0;
  for await (const _line of createInterface({ input: child.stdout })) if (++lines === 10) child.kill("SIGKILL");
  expect((await exited)[1]).toBe("SIGKILL");
  const inTheMiddle = (await migrated()).length;
  expect(inTheMiddle).toBeGreaterThanOrEqual(9);
  expect(inTheMiddle).toBeLessThan(TENANTS);

  const { told, summary } = await run();
  expect(summary).toMatchObject({ tenants: TENANTS, failed: 1 });
  expect(summary.tookMs).toBeGreaterThan(0);
  // What was done before the kill is not done again; nothing was left half done by it.
  expect(summary.changed).toBeLessThan(TENANTS - 8);
  expect(told.find(({ error }) => error !== null)).toEqual({
    tenantId: ill,
    applied: [],
    error: expect.stringContaining("already exists"),
  });
  expect(await migrated()).toEqual(made.toSorted());

  // Mended, the last one follows, and then there is nothing to do.
  await admin.unsafe(`alter table "${ill}".documents drop column extra`);
  expect((await run()).told).toEqual([{ tenantId: ill, applied: [ONE_MORE.name], error: null }]);
  expect((await run()).summary).toMatchObject({ tenants: TENANTS, changed: 0, failed: 0 });
});

test("two runs at once share the work and do nothing twice (G14)", async () => {
  const more = { name: "9999_more", sql: "create table more (id int)" };
  const migrations = [...tenantMigrations, ONE_MORE, more];
  const told: TenantMigrated[] = [];
  const runs = await Promise.all([1, 2].map(() => migrateTenants(url, (one) => void told.push(one), { migrations })));
  expect(runs.map(({ failed }) => failed)).toEqual([0, 0]);
  expect(told.map(({ tenantId }) => tenantId).toSorted()).toEqual(made.toSorted());
});
