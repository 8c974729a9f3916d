import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import postgres from "postgres";
import { z } from "zod";
import { ensureTenantSchema } from "../../src/db/tenant-database.ts";
import { newId } from "../../src/shared/ids.ts";
import { ROLE_PASSWORDS, startPostgres } from "../support/postgres.ts";

/**
 * node test/load/migrations.ts --schemas 10000
 *
 * One column more in the schema of every tenant of a cluster's database, as `causeway migrate` does it; the run is killed (SIGKILL) at 40 %
 * and begun again. Meanwhile one tenant's table is asked all the time, and every 50 ms it is looked at how many tenants' tables one session
 * holds an exclusive lock on. Prints times as JSON; exit code 1 when a schema was left out, changed twice, or a lock went across tenants.
 */
const { values } = parseArgs({ options: { schemas: { type: "string", default: "10000" } } });
const schemas = Number(values.schemas);
const KILL_AT = 0.4;
const CHUNK = 100;

const server = await startPostgres();
try {
  const database = await server.createDatabase();
  const login = { user: "causeway_provisioner", password: ROLE_PASSWORDS.causeway_provisioner };
  const url = server.url(database, login);
  const admin = postgres(server.url(database), { max: 3, onnotice: () => {} });
  const provisioner = postgres(url, { max: 1, onnotice: () => {} });
  const first = newId("ten");
  await ensureTenantSchema(provisioner, { tenantId: first, label: "first@default", password: "secret" });
  for (let at = 1; at < schemas; at += CHUNK) {
    const ids = Array.from({ length: Math.min(CHUNK, schemas - at) }, () => newId("ten"));
    await admin.unsafe(ids.map((id) => copyOf(first, id)).join("\n"));
  }
  process.stderr.write(`${schemas} schemas are there\n`);

  const over = new AbortController();
  let slowestQueryMs = 0;
  const asking = (async () => {
    while (!over.signal.aborted) {
      const askedMs = performance.now();
      await admin.unsafe(`select count(*) from "${first}".documents`);
      slowestQueryMs = Math.max(slowestQueryMs, performance.now() - askedMs);
    }
  })();
  let mostTenantsLocked = 0;
  const looking = (async () => {
    while (!over.signal.aborted) {
      const [row] = await admin<{ n: number }[]>`
        select coalesce(max(n), 0)::int as n from (
          select count(distinct relnamespace) as n from pg_locks join pg_class on pg_class.oid = relation
          join pg_namespace on pg_namespace.oid = relnamespace
          where locktype = 'relation' and mode = 'AccessExclusiveLock' and nspname like 'ten\_%' group by pid) held`;
      mostTenantsLocked = Math.max(mostTenantsLocked, row?.n ?? 0);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();

  const killed = await migrate(Math.floor(schemas * KILL_AT));
  const resumed = await migrate(null);
  over.abort();
  await Promise.all([asking, looking]);
  const [columns] = await admin<{ n: number }[]>`select count(*)::int as n from pg_attribute
    join pg_class on pg_class.oid = attrelid where relname = 'documents' and attname = 'extra' and not attisdropped`;
  const report = {
    schemas,
    killedAfter: killed.told,
    resumed: resumed.summary,
    perSecond: Math.round((resumed.told * 1000) / (resumed.summary?.tookMs ?? 1)),
    schemasWithTheColumn: columns?.n ?? 0,
    slowestQueryMs: Math.round(slowestQueryMs),
    mostTenantsLockedByOneSession: mostTenantsLocked,
  };
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  const isWhole = report.schemasWithTheColumn === schemas && killed.told + resumed.told <= schemas;
  process.exitCode = isWhole && mostTenantsLocked <= 1 && resumed.summary?.failed === 0 ? 0 : 1;
  await Promise.all([admin.end(), provisioner.end()]);

  /** Runs in a process of its own until its end, or until so many tenants were told. */
  async function migrate(killAfter: number | null) {
    const child = spawn(process.execPath, [join(import.meta.dirname, "../system/fixtures/migrate-tenants.ts")], {
      env: { PROVISIONER_URL: url, ONE_MORE_SECONDS: "0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(child, "exit");
    const line = z.union([
      z.object({ tenantId: z.string() }),
      z.object({ tenants: z.number(), changed: z.number(), failed: z.number(), tookMs: z.number() }),
    ]);
    let told = 0;
    let summary: { changed: number; failed: number; tookMs: number } | null = null;
    for await (const text of createInterface({ input: child.stdout })) {
      const said = line.parse(JSON.parse(text));
      if ("tookMs" in said) summary = said;
      else if (++told === killAfter) child.kill("SIGKILL");
    }
    await exited;
    return { told, summary };
  }
} finally {
  await server.stop();
}

/** As ensureTenantSchema makes them, but by the superuser and without passwords and round trips: ten thousand are there within minutes. */
function copyOf(from: string, to: string): string {
  const tables = ["causeway_migrations", "documents", "settings"];
  return `
    create role "${to}" login; grant "${to}" to causeway_provisioner; create schema "${to}" authorization "${to}";
    ${tables.map((table) => `create table "${to}"."${table}" (like "${from}"."${table}" including all); alter table "${to}"."${table}" owner to "${to}";`).join("\n")}
    insert into "${to}".causeway_migrations select * from "${from}".causeway_migrations;`;
}
