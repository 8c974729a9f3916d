import type { TransactionSql } from "postgres";
import type { Sql } from "./client.ts";
import { quoteIdentifier, quoteLiteral, tenantGroupName, tenantSchemaName } from "./identifiers.ts";
import { ledgerTable, runMigrations } from "./migrate.ts";
import type { Migration } from "./migrate.ts";
import { tenantMigrations } from "./migrations/tenant.ts";
import { scramIterations, scramRounds, scramVerifier } from "./scram.ts";
import { systemRandom } from "./secrets.ts";

/** Connections that one tenant's services may hold together: one busy tenant must not use up the server. */
const TENANT_CONNECTION_LIMIT = 20;

/** What follows happens with the tenant's own rights, so that not even a migration can touch another schema. */
function asTenant(tenantId: string): string {
  const name = quoteIdentifier(tenantSchemaName(tenantId));
  return `set local role ${name}; set local search_path = ${name}`;
}

/**
 * The tenant's schema and role, both named by its id, with this password, at the current migration level. Safe to repeat: what is there stays,
 * the password is set again. `label` (slug@cluster) becomes the schema's comment, for people. `sql` logs in as the provisioner.
 */
export async function ensureTenantSchema(
  sql: Sql,
  tenant: { tenantId: string; label: string; password: string },
  migrations: readonly Migration[] = tenantMigrations,
): Promise<string[]> {
  const name = tenantSchemaName(tenant.tenantId);
  const quoted = quoteIdentifier(name);
  await sql.begin(async (tx) => {
    const [found] = await tx<{ database: string; version: number; there: boolean; iterations: string | null }[]>`
      select current_database() as database, current_setting('server_version_num')::int as version,
        exists (select 1 from pg_roles where rolname = ${name}) as there, current_setting('scram_iterations', true) as iterations`;
    const { database = "", version = 0, there = false, iterations = null } = found ?? {};
    const verifier = await scramVerifier(tenant.password, systemRandom(16), scramRounds(iterations));
    // The group's rights, not its name: nothing is to be made under that. Before PostgreSQL 16 membership could not be told apart.
    const withoutSetRole = version >= 160_000 ? "with set false" : "";
    await tx.unsafe(`
      ${there ? "alter" : "create"} role ${quoted} login connection limit ${TENANT_CONNECTION_LIMIT} password ${quoteLiteral(verifier)};
      -- Creating a role gives the right to administer it; to own or act as it takes membership (PostgreSQL 16).
      ${there ? "" : `grant ${quoted} to current_user;`}
      alter role ${quoted} set search_path = ${quoted};
      grant ${quoteIdentifier(tenantGroupName(database))} to ${quoted} ${withoutSetRole};
      create schema if not exists ${quoted} authorization ${quoted};
      comment on schema ${quoted} is ${quoteLiteral(tenant.label)};
    `);
  });
  return await migrateTenantSchema(sql, tenant.tenantId, migrations);
}

/** Brings a schema that is there to the level of these migrations. Returns the names of those that it applied; throws as runMigrations. */
export async function migrateTenantSchema(
  sql: Sql,
  tenantId: string,
  migrations: readonly Migration[],
  options: {
    /** Of each statement. Default: the server's. */
    readonly timeouts?: { readonly lockMs: number; readonly statementMs: number };
    readonly onApplied?: (name: string) => void;
  } = {},
): Promise<string[]> {
  const name = tenantSchemaName(tenantId);
  const { timeouts, onApplied } = options;
  return await runMigrations(sql, {
    migrations,
    ledger: { schema: name, table: "causeway_migrations" },
    prepare: async (tx) => {
      const limits =
        timeouts === undefined
          ? ""
          : `set local lock_timeout = ${timeouts.lockMs}; set local statement_timeout = ${timeouts.statementMs};`;
      await tx.unsafe(`${asTenant(tenantId)}; ${limits} ${ledgerTable(name, "causeway_migrations")}`);
    },
    ...(onApplied !== undefined && { onApplied }),
  });
}

/** Drops exactly this tenant's schema, role and further logins. Safe to repeat. Open connections of the role end with their next statement. */
export async function dropTenantSchema(sql: Sql, tenantId: string): Promise<void> {
  const name = tenantSchemaName(tenantId);
  const quoted = quoteIdentifier(name);
  await sql.begin(async (tx) => {
    await tx.unsafe(`drop schema if exists ${quoted} cascade`);
    const logins = await tx<{ role: string }[]>`
      select rolname as role from pg_roles where starts_with(rolname, ${`${name}_`}) order by rolname`;
    for (const login of logins) await dropRole(tx, name, login.role);
    const [role] = await tx`select 1 from pg_roles where rolname = ${name}`;
    if (role !== undefined) await tx.unsafe(`drop owned by ${quoted}; drop role ${quoted}`);
  });
}

/**
 * One more login for a tenant: a role that acts as the tenant's own from the start of each session, so that whatever it makes is the tenant's.
 * Safe to repeat.
 */
export async function ensureTenantLogin(sql: Sql, tenantId: string, role: string, password: string): Promise<void> {
  const owner = quoteIdentifier(tenantSchemaName(tenantId));
  const login = quoteIdentifier(role);
  await sql.begin(async (tx) => {
    const verifier = await scramVerifier(password, systemRandom(16), await scramIterations(tx));
    const [found] = await tx`select 1 from pg_roles where rolname = ${role}`;
    await tx.unsafe(
      `${found === undefined ? "create" : "alter"} role ${login} login connection limit ${TENANT_CONNECTION_LIMIT} password ${quoteLiteral(verifier)}`,
    );
    if (found === undefined) await tx.unsafe(`grant ${login} to current_user; grant ${owner} to ${login}`);
    await tx.unsafe(`alter role ${login} set role = ${owner}; alter role ${login} set search_path = ${owner}`);
  });
}

/** How many sessions a login has. */
export async function loginSessions(sql: Sql, role: string): Promise<number> {
  const [row] = await sql<{ n: number }[]>`select count(*)::int as n from pg_stat_activity where usename = ${role}`;
  return row?.n ?? 0;
}

/** Ends a login and its sessions for good. The tenant's own role stays, as owner of its schema; any other goes. Safe to repeat. */
export async function retireTenantLogin(sql: Sql, tenantId: string, role: string): Promise<void> {
  const owner = tenantSchemaName(tenantId);
  const [found] = await sql`select 1 from pg_roles where rolname = ${role}`;
  if (found === undefined) return;
  await sql.unsafe(`alter role ${quoteIdentifier(role)} nologin password null`);
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${role}`;
  if (role !== owner) await sql.begin((tx) => dropRole(tx, owner, role));
}

/** What it made under its own name becomes the tenant's. */
async function dropRole(tx: TransactionSql, owner: string, role: string): Promise<void> {
  const quoted = quoteIdentifier(role);
  await tx.unsafe(
    `reassign owned by ${quoted} to ${quoteIdentifier(owner)}; drop owned by ${quoted}; drop role ${quoted}`,
  );
}

/** The URL that a tenant's services get: the cluster's address with the tenant's login. `role`: default is the tenant's own. */
export function tenantDatabaseUrl(
  address: string,
  tenantId: string,
  password: string,
  role: string = tenantSchemaName(tenantId),
): string {
  const url = new URL(address);
  url.username = role;
  url.password = password;
  return url.href;
}
