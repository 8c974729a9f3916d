import { drizzle } from "drizzle-orm/postgres-js";
import type { PostgresJsQueryResultHKT } from "drizzle-orm/postgres-js";
import type { PgDatabase } from "drizzle-orm/pg-core";
import postgres from "postgres";

/** A connection pool or a transaction: queries take either. */
export type Db = PgDatabase<PostgresJsQueryResultHKT>;

export type Sql = postgres.Sql;

/**
 * A postgres.js client as Hyperdrive wants it: at most 5 connections an invocation, no type query at start (arrays and dates are drizzle's
 * work), notices dropped because they may quote data. In a Worker: one per invocation, never `end()`ed. In Node the caller ends it.
 */
export function connectSql(url: string, maxConnections = 5): Sql {
  return postgres(url, { max: maxConnections, fetch_types: false, onnotice: () => {} });
}

export function connect(url: string, maxConnections = 5): { db: Db; sql: Sql } {
  const sql = connectSql(url, maxConnections);
  return { db: drizzle(sql), sql };
}

/** SQLSTATE of a failed query, through drizzle's wrapper; null for anything else. */
export function sqlState(error: unknown): string | null {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    if ("code" in cause && typeof cause.code === "string" && /^[0-9A-Z]{5}$/.test(cause.code)) return cause.code;
  }
  return null;
}

export const UNIQUE_VIOLATION = "23505";

/** Name of the constraint that a failed query violated; null for anything else. */
export function violatedConstraint(error: unknown): string | null {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    if ("constraint_name" in cause && typeof cause.constraint_name === "string") return cause.constraint_name;
  }
  return null;
}
