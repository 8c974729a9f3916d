import { and, eq, gt, isNull, or } from "drizzle-orm";
import { newId } from "../shared/ids.ts";
import { connect } from "./client.ts";
import type { Db } from "./client.ts";
import { apiTokens } from "./schema.ts";
import { newSecret, sha256Hex } from "./secrets.ts";

export type Scope = "read" | "write" | "admin";

/** Recognisable in scans for leaked secrets. */
const PREFIX = "cwt_";

/** Makes a token of the management API and returns it; only its hash is stored. `expiresAt` null: until revoked. */
export async function insertApiToken(
  db: Db,
  token: { name: string; scopes: readonly Scope[]; expiresAt?: Date | null },
): Promise<string> {
  const secret = `${PREFIX}${newSecret()}`;
  await db.insert(apiTokens).values({
    id: newId("tok"),
    name: token.name,
    hash: await sha256Hex(secret),
    scopes: [...token.scopes],
    expiresAt: token.expiresAt ?? null,
  });
  return secret;
}

/** For `causeway up` and first installations: as insertApiToken, over a connection of its own. */
export async function createApiToken(
  url: string,
  token: { name: string; scopes: readonly Scope[]; expiresAt?: Date | null },
): Promise<string> {
  const { db, sql } = connect(url, 1);
  try {
    return await insertApiToken(db, token);
  } finally {
    await sql.end();
  }
}

/** Who the token speaks for; null when it is unknown, expired or revoked. */
export async function findApiToken(
  db: Db,
  secret: string,
  now: Date,
): Promise<{ id: string; name: string; scopes: readonly Scope[] } | null> {
  const [row] = await db
    .select({ id: apiTokens.id, name: apiTokens.name, scopes: apiTokens.scopes })
    .from(apiTokens)
    .where(
      and(
        eq(apiTokens.hash, await sha256Hex(secret)),
        isNull(apiTokens.revokedAt),
        or(isNull(apiTokens.expiresAt), gt(apiTokens.expiresAt, now)),
      ),
    );
  return row ?? null;
}
