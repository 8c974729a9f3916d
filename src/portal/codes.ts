import { eq, lt } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { signInCode } from "../db/portal-schema.ts";
import type { RedeemInput } from "../protocol/portal-rpc.ts";
import type { Clock } from "../shared/clock.ts";
import { base64Url, hexSha256, sha256 } from "./encoding.ts";
import { LIMITS } from "./limits.ts";

export interface CodeFor {
  readonly sessionId: string;
  readonly accountId: string;
  readonly tenantId: string;
  /** The tenant's or target's host, lower case, no port. */
  readonly host: string;
  /** PKCE, S256. */
  readonly codeChallenge: string;
}

/** Makes a one-time code for a tenant host. Only its hash is stored, so a leaked database can't sign anybody in. */
export async function issueCode(db: Db, of: CodeFor, now: Clock, random: (bytes: Uint8Array) => void): Promise<string> {
  const bytes = new Uint8Array(32);
  random(bytes);
  const code = base64Url(bytes);
  await db.delete(signInCode).where(lt(signInCode.expiresAt, new Date(now())));
  await db.insert(signInCode).values({
    codeHash: await hexSha256(code),
    sessionId: of.sessionId,
    userId: of.accountId,
    tenantId: of.tenantId,
    host: of.host,
    codeChallenge: of.codeChallenge,
    expiresAt: new Date(now() + LIMITS.codeLifetimeSeconds * 1_000),
  });
  return code;
}

/** Takes the code out, whatever else is wrong with the attempt: a second one never works. Null when it does not fit. */
export async function redeemCode(
  db: Db,
  input: RedeemInput,
  now: Clock,
): Promise<{ accountId: string; sessionId: string } | null> {
  const [row] = await db
    .delete(signInCode)
    .where(eq(signInCode.codeHash, await hexSha256(input.code)))
    .returning();
  if (row === undefined || row.expiresAt.getTime() <= now()) return null;
  if (row.host !== input.host || row.tenantId !== input.tenantId) return null;
  if (row.codeChallenge !== base64Url(await sha256(input.verifier))) return null;
  return { accountId: row.userId, sessionId: row.sessionId };
}
