import type { TransactionSql } from "postgres";
import type { Sql } from "./client.ts";
import { quoteIdentifier } from "./identifiers.ts";
import { sha256Hex } from "./secrets.ts";

/** One file of drizzle-kit, bundled as text (bundle-migrations.node.ts). Never edited once it was released. */
export interface Migration {
  readonly name: string;
  readonly sql: string;
}

export interface MigrationTarget {
  readonly migrations: readonly Migration[];
  /** Schema and table of the ledger; both exist already or are made by `prepare`. */
  readonly ledger: { readonly schema: string; readonly table: string };
  /** First statements of every transaction: makes the ledger, and sets role and search_path (with SET LOCAL) where that is wanted. */
  prepare(tx: TransactionSql): Promise<void>;
  /** Told as each one is committed, since what came before a failure stays. */
  onApplied?(name: string): void;
}

export class MigrationChanged extends Error {
  override readonly name = "MigrationChanged";
}

/**
 * Applies what the ledger does not have, in order, each migration in a transaction of its own together with its ledger row. Needs no lock:
 * a second runner waits at the ledger row and then finds the work done. Returns the names that it applied. Throws the database's error
 * when a migration fails (nothing of that one stays), and MigrationChanged when an applied one no longer has the text that was applied.
 */
export async function runMigrations(sql: Sql, target: MigrationTarget): Promise<string[]> {
  const ledger = `${quoteIdentifier(target.ledger.schema)}.${quoteIdentifier(target.ledger.table)}`;
  const applied: string[] = [];
  for (const migration of target.migrations) {
    const hash = await sha256Hex(migration.sql);
    const done = await sql.begin(async (tx) => {
      await target.prepare(tx);
      const [claimed] = await tx.unsafe(
        `insert into ${ledger} (name, hash) values ($1, $2) on conflict (name) do nothing returning name`,
        [migration.name, hash],
      );
      if (claimed === undefined) {
        const [row] = await tx.unsafe<{ hash: string }[]>(`select hash from ${ledger} where name = $1`, [
          migration.name,
        ]);
        if (row?.hash !== hash)
          throw new MigrationChanged(`migration ${migration.name} is not the text that was applied`);
        return false;
      }
      // All of its statements at once: the breakpoints between them are comments.
      await tx.unsafe(migration.sql);
      return true;
    });
    if (!done) continue;
    applied.push(migration.name);
    target.onApplied?.(migration.name);
  }
  return applied;
}

/** DDL of a ledger table. */
export const ledgerTable = (schema: string, table: string): string =>
  `create table if not exists ${quoteIdentifier(schema)}.${quoteIdentifier(table)} (
     name text primary key, hash text not null, applied_at timestamptz not null default now())`;
