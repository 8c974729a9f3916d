import { sqlState } from "./client.ts";
import type { Sql } from "./client.ts";

/** Databases that every server has and that nobody of ours needs. */
const SERVER_DATABASES = ["postgres", "template1"];

/**
 * Functions that make a large object. Those lie outside all schemas, count against nobody and go with nobody's schema. Who can't make one has
 * none to write to.
 */
const LARGE_OBJECT_MAKERS = ["lo_create(oid)", "lo_creat(integer)", "lo_from_bytea(oid, bytea)"];

/** Not the migrating role's to give away, or somebody does the same at this moment. */
const NOT_OURS: ReadonlySet<string> = new Set(["42501", "XX000"]);

async function whereAllowed(sql: Sql, statement: string): Promise<void> {
  try {
    await sql.unsafe(statement);
  } catch (error) {
    if (!NOT_OURS.has(sqlState(error) ?? "")) throw error;
  }
}

/**
 * A login gets into every database of its server unless somebody forbids it. Takes the right to connect and to make temporary tables from
 * PUBLIC in this database, `postgres` and `template1`, and, in this database, the right to make large objects. Superusers and owners keep
 * theirs. What the migrating role does not own stays as it is (src/db/migrate-control.ts is run by a superuser or by the owner of the database).
 */
export async function lockDown(sql: Sql): Promise<void> {
  const open = await sql<{ statement: string }[]>`
    select distinct format('revoke connect, temporary on database %I from public', datname) as statement
    from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
    where grantee = 0 and (datname = current_database() or datname in ${sql(SERVER_DATABASES)})`;
  for (const { statement } of open) await whereAllowed(sql, statement);
  for (const made of LARGE_OBJECT_MAKERS)
    await whereAllowed(sql, `revoke execute on function pg_catalog.${made} from public`);
}
