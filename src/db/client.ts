import { drizzle } from "drizzle-orm/postgres-js";
import type { PostgresJsQueryResultHKT } from "drizzle-orm/postgres-js";
import type { PgDatabase } from "drizzle-orm/pg-core";
import postgres from "postgres";
import type { TransactionSql } from "postgres";

/** A connection pool or a transaction: queries take either. */
export type Db = PgDatabase<PostgresJsQueryResultHKT>;

export type Sql = postgres.Sql;

/** A role's, in a database: it has three pools, and a local server takes 200 connections. Queries take milliseconds, locks included. */
const POOLED_CONNECTIONS = 10;

/**
 * A postgres.js client as Hyperdrive wants it: at most 5 connections an invocation, no type query at start (arrays and dates are drizzle's
 * work), notices dropped because they may quote data. In a Worker: one per invocation, never `end()`ed. In Node the caller ends it.
 */
export function connectSql(url: string, maxConnections = 5): Sql {
  return postgres(url, { max: maxConnections, fetch_types: false, onnotice: () => {} });
}

export function connect(url: string, maxConnections = 5): { db: Db; sql: Sql } {
  const sql = connectSql(url, maxConnections);
  return { db: drizzle(preparing(sql)), sql };
}

/**
 * For an object that outlives its invocations. Its connections stay open: ending one by hand leaves a rejected read behind in workerd, and an
 * object that nobody asks goes with them after seconds. After the database was away the next query looks for it at once.
 */
export function connectPooled(url: string): { db: Db; sql: Sql } {
  const options = { max: POOLED_CONNECTIONS, max_lifetime: null, backoff: () => 0.1 };
  const sql = postgres(url, { ...options, fetch_types: false, onnotice: () => {} });
  return { db: drizzle(preparing(sql)), sql };
}

/**
 * As drizzle gets it: its statements are prepared, each once in a connection. Unprepared ones cost two round trips each time (postgres.js asks
 * for the parameters' types first) and are parsed and planned anew; an invocation of the provisioner says the same things for forty operations.
 */
function preparing<Client extends Sql | TransactionSql>(client: Client): Client {
  return new Proxy(client, {
    get(target, name) {
      if (name === "unsafe")
        return (text: string, parameters?: Parameters<Sql["unsafe"]>[1]) =>
          target.unsafe(text, parameters, { prepare: true });
      if (name === "begin" && "begin" in target)
        return <T>(work: (tx: TransactionSql) => T | Promise<T>) => target.begin((tx) => work(preparing(tx)));
      if (name === "savepoint" && "savepoint" in target)
        return <T>(work: (tx: TransactionSql) => T | Promise<T>) => target.savepoint((tx) => work(preparing(tx)));
      return Reflect.get(target, name);
    },
  });
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
