import { connectSql } from "./client.ts";
import type { Sql } from "./client.ts";
import { isId } from "../shared/ids.ts";
import type { Migration } from "./migrate.ts";
import { tenantMigrations } from "./migrations/tenant.ts";
import { migrateTenantSchema } from "./tenant-database.ts";

/** Schemas at the same time: DDL waits for the log's flush most of the time, and more than the server's cores gain little. */
const PARALLEL = 8;
/** A migration that a tenant's own long transaction holds up gives way, so that it does not hold up that tenant in turn. */
const LOCK_TIMEOUT_MS = 5_000;
/** Longer than any sensible change of one tenant's tables. */
const STATEMENT_TIMEOUT_MS = 10 * 60_000;

export interface TenantMigrated {
  readonly tenantId: string;
  /** Migrations that it did not have; none: it was at the current level. */
  readonly applied: readonly string[];
  /** Why it stopped there; null: it is at the current level. */
  readonly error: string | null;
}

export interface TenantsMigrated {
  readonly tenants: number;
  readonly changed: number;
  readonly failed: number;
  readonly tookMs: number;
}

/**
 * Brings the schemas of all tenants of a cluster's database to the current level, several at a time, each with its tenant's own rights and
 * each migration in a transaction of its own. One that fails is told and holds up nobody. Every schema's ledger says what it has, so a run
 * that was killed is taken up by running it again; two at once share the work. `url` logs in as the provisioner. `told`: each tenant that
 * was changed or failed, as it is done.
 */
export async function migrateTenants(
  url: string,
  told: (tenant: TenantMigrated) => void,
  options: { migrations?: readonly Migration[]; clock?: () => number } = {},
): Promise<TenantsMigrated> {
  const { migrations = tenantMigrations, clock = Date.now } = options;
  const startedMs = clock();
  const sql = connectSql(url, PARALLEL);
  try {
    const waiting = await tenantSchemas(sql);
    const tenants = waiting.length;
    let changed = 0;
    let failed = 0;
    const worker = async () => {
      for (let tenantId = waiting.pop(); tenantId !== undefined; tenantId = waiting.pop()) {
        const done = await migrateOne(sql, tenantId, migrations);
        if (done.applied.length > 0) changed += 1;
        if (done.error !== null) failed += 1;
        if (done.applied.length > 0 || done.error !== null) told(done);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
    return { tenants, changed, failed, tookMs: clock() - startedMs };
  } finally {
    await sql.end();
  }
}

/** Made by us: owned by a role of the same name. The oldest last. */
async function tenantSchemas(sql: Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select nspname as name from pg_namespace join pg_roles on pg_roles.oid = nspowner
    where nspname = rolname and nspname like 'ten\_%' order by nspname desc`;
  return rows.map(({ name }) => name).filter((name) => isId("ten", name));
}

async function migrateOne(sql: Sql, tenantId: string, migrations: readonly Migration[]): Promise<TenantMigrated> {
  const applied: string[] = [];
  try {
    await migrateTenantSchema(sql, tenantId, migrations, {
      timeouts: { lockMs: LOCK_TIMEOUT_MS, statementMs: STATEMENT_TIMEOUT_MS },
      onApplied: (name) => void applied.push(name),
    });
    return { tenantId, applied, error: null };
  } catch (error) {
    return { tenantId, applied, error: error instanceof Error ? error.message : "unknown error" };
  }
}
