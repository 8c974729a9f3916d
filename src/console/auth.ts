import type { Scope } from "../db/api-tokens.ts";
import { findApiToken } from "../db/api-tokens.ts";
import type { Db } from "../db/client.ts";
import { ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import { fail } from "./failure.ts";
import type { Failure } from "./failure.ts";

export interface Caller {
  readonly tokenId: string;
  /** Kept for the request only: keys for idempotency are made from it. */
  readonly secret: string;
}

/** Each scope includes the ones before it. */
const RANK: Record<Scope, number> = { read: 0, write: 1, admin: 2 };

/** The caller behind `Authorization: Bearer`, when the token has the scope. `header`: the header's value. */
export async function authorize(
  db: Db,
  header: string | undefined,
  scope: Scope,
  now: Date,
): Promise<Result<Caller, Failure>> {
  const secret = /^Bearer ([A-Za-z0-9_.~+/-]{16,256}=*)$/i.exec(header ?? "")?.[1];
  if (secret === undefined) return fail("unauthorized", "Send a token of the management API as Authorization: Bearer.");
  const token = await findApiToken(db, secret, now);
  if (token === null) return fail("unauthorized", "The token is unknown, expired or revoked.");
  if (!token.scopes.some((has) => RANK[has] >= RANK[scope]))
    return fail("forbidden", `This needs a token with the scope "${scope}".`);
  return ok({ tokenId: token.id, secret });
}
