import { drizzle } from "drizzle-orm/postgres-js";
import { connectSql } from "./client.ts";
import { healWorkspaces } from "./heal-workspaces.ts";
import type { HealedWorkspaces } from "./heal-workspaces.ts";
import { quoteIdentifier, tenantGroupName } from "./identifiers.ts";
import { lockDown } from "./lock-down.ts";
import { ledgerTable, runMigrations } from "./migrate.ts";
import { controlMigrations } from "./migrations/control.ts";
import { ensureRole, grantControl, SERVICE_ROLES } from "./roles.ts";
import type { RolePasswords } from "./roles.ts";

/** Any constant; two `causeway migrate` at once take turns. Allowed here only, on a direct connection: Hyperdrive refuses such locks. */
const LOCK = 7_203_914;

/**
 * Brings the control database to the current level: the three service roles with these passwords, the schemas `control` and `portal`,
 * least-privilege grants; nobody else may connect. Safe to repeat. `url` is a direct connection as a role that may create roles and owns the database. Returns the
 * names of the migrations that it applied.
 */
export async function migrateControl(
  url: string,
  options: {
    readonly rolePasswords: RolePasswords;
    /** Told of what was not as the constraints want it, and has been mended. */
    readonly onHealed?: (healed: HealedWorkspaces) => void;
  },
): Promise<string[]> {
  const sql = connectSql(url, 1);
  try {
    await sql`select pg_advisory_lock(${LOCK})`;
    await sql.begin(async (tx) => {
      for (const role of SERVICE_ROLES) await ensureRole(tx, role, options.rolePasswords[role]);
      await tx.unsafe("create schema if not exists causeway");
      await tx.unsafe(ledgerTable("causeway", "migrations"));
    });
    const applied = await runMigrations(sql, {
      migrations: controlMigrations,
      ledger: { schema: "causeway", table: "migrations" },
      prepare: async () => {},
    });
    await sql.begin(grantControl);
    const healed = await drizzle(sql).transaction(healWorkspaces);
    if (healed !== null) options.onHealed?.(healed);
    await lockDown(sql);
    return applied;
  } finally {
    await sql.end();
  }
}

/**
 * Prepares a cluster's database for tenants (it may be the control database itself): the provisioner may create schemas and roles in it,
 * nobody else gets anything by default. Safe to repeat.
 */
export async function prepareClusterDatabase(url: string, options: { provisionerPassword: string }): Promise<void> {
  const sql = connectSql(url, 1);
  try {
    await sql`select pg_advisory_lock(${LOCK})`;
    await sql.begin(async (tx) => {
      await ensureRole(tx, "causeway_provisioner", options.provisionerPassword);
      const [row] = await tx<{ name: string }[]>`select current_database() as name`;
      const name = row?.name ?? "";
      const database = quoteIdentifier(name);
      const group = quoteIdentifier(tenantGroupName(name));
      const [groupExists] = await tx`select 1 from pg_roles where rolname = ${tenantGroupName(name)}`;
      if (groupExists === undefined) await tx.unsafe(`create role ${group} nologin`);
      await tx.unsafe(`
        grant ${group} to causeway_provisioner with admin option;
        alter role causeway_provisioner createrole;
        revoke all on database ${database} from public;
        revoke all on schema public from public;
        grant create on database ${database} to causeway_provisioner;
        grant connect on database ${database} to causeway_provisioner, ${group};
      `);
      const [control] = await tx`select 1 from pg_namespace where nspname = 'control'`;
      // In one database with control data the other two have to log in as well.
      if (control !== undefined)
        await tx.unsafe(`grant connect on database ${database} to causeway_console, causeway_portal`);
    });
    await lockDown(sql);
  } finally {
    await sql.end();
  }
}
