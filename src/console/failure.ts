import type { z } from "@hono/zod-openapi";
import { sqlState, UNIQUE_VIOLATION, violatedConstraint } from "../db/client.ts";
import type { ErrorCode } from "../shared/problem.ts";
import { err } from "../shared/result.ts";

/** A refusal that the caller can do something about; becomes problem details at the boundary (app.ts). */
export interface Failure {
  readonly code: ErrorCode;
  /** One sentence: what is wrong and what to do. No secrets. */
  readonly detail: string;
}

export const fail = (code: ErrorCode, detail: string) => err({ code, detail } satisfies Failure);

export const notFound = (what: string, name: string) => fail("not-found", `There is no ${what} "${name}".`);

/** What a unique constraint says to people. The constraints decide, not a look before: two requests may race. */
const CONFLICTS: Record<string, string> = {
  clusters_name_unique: "A cluster with this name exists already.",
  clusters_one_default: "There is a default cluster already.",
  nodes_name_unique: "A node with this name exists already.",
  tenants_slug_per_cluster: "A tenant with this name exists already in this cluster.",
  hosts_pkey: "This host belongs to a tenant already.",
  workspaces_name_per_tenant: "This tenant has a workspace with this name already.",
  connectors_name_per_tenant: "This tenant has a connector with this name already.",
  jobs_name_per_tenant: "This tenant has a job with this name already.",
  connector_secrets_sha256_unique: "A connector has this secret already. Every connector has secrets of its own.",
  connector_keys_kid_per_connector: "This connector has a key with this kid already.",
};

/** What PostgreSQL says to a NUL in a text and in a JSON value: of a body or a cursor. */
const UNTRANSLATABLE: ReadonlySet<string> = new Set(["22021", "22P05"]);

/** The failure behind a database error that we expect, else null. */
export function failureOf(error: unknown): Failure | null {
  if (sqlState(error) === UNIQUE_VIOLATION) {
    const detail = CONFLICTS[violatedConstraint(error) ?? ""];
    if (detail !== undefined) return { code: "conflict", detail };
  }
  if (UNTRANSLATABLE.has(sqlState(error) ?? ""))
    return { code: "bad-request", detail: "Text can't hold a NUL character." };
  if (databaseIsAway(error))
    return { code: "not-available", detail: "The database can't be reached right now. Try again shortly." };
  return null;
}

/** Codes of postgres.js, PostgreSQL and the system for a connection that is not there. */
const AWAY_CODE = /^(ECONN|CONNECT|ENOTFOUND|ETIMEDOUT|EPIPE|57P0|08)/;
/** workerd's sockets fail without a code. */
const AWAY_MESSAGE =
  /^(connection attempt failed|proxy request failed|network connection lost|this socket has been closed|stream was cancelled)/i;

function databaseIsAway(error: unknown): boolean {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    if ("code" in cause && typeof cause.code === "string" && AWAY_CODE.test(cause.code)) return true;
    if (AWAY_MESSAGE.test(cause.message)) return true;
  }
  return false;
}

/** What is wrong with an input, for people: "body.slug: too short; ...". Values are not repeated, they may be secret. */
export function describeIssues(error: z.ZodError, where: string): string {
  return error.issues
    .slice(0, 5)
    .map((issue) => `${[where, ...issue.path.map(String)].join(".")}: ${issue.message}`)
    .join("; ");
}
