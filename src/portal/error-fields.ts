import { sqlState } from "../db/client.ts";

/** What may be logged of an error: its kind and SQLSTATE. Messages of failed queries quote parameters. */
export function errorFields(error: unknown): { readonly error: string; readonly sqlState: string | null } {
  return { error: error instanceof Error ? error.name : typeof error, sqlState: sqlState(error) };
}
