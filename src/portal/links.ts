import { and, eq, gt, lt } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { mailLink } from "../db/portal-schema.ts";
import type { Clock } from "../shared/clock.ts";
import { base64Url, hexSha256 } from "./encoding.ts";
import { LIMITS } from "./limits.ts";

export type LinkPurpose = "reset-password" | "sign-up" | "verify-address";

/** Who a link is for. `accountId` is null for a sign-up. */
export interface LinkFor {
  readonly email: string;
  readonly accountId: string | null;
}

/** Shape of every token in a mailed link: 32 random bytes. */
export const LINK_TOKEN = /^[A-Za-z0-9_-]{43}$/;

/** `random` fills the array with random bytes. */
export function newLinkToken(random: (bytes: Uint8Array) => void): string {
  const bytes = new Uint8Array(32);
  random(bytes);
  return base64Url(bytes);
}

/** Makes a token for a mail to `of.email`. Older ones for the same address and purpose stop working. Only a hash is stored. */
export async function issueLink(
  db: Db,
  purpose: LinkPurpose,
  of: LinkFor,
  now: Clock,
  random: (bytes: Uint8Array) => void,
): Promise<string> {
  const token = newLinkToken(random);
  await db.delete(mailLink).where(lt(mailLink.expiresAt, new Date(now())));
  await db.delete(mailLink).where(and(eq(mailLink.email, of.email), eq(mailLink.purpose, purpose)));
  await db.insert(mailLink).values({
    tokenHash: await hexSha256(token),
    purpose,
    email: of.email,
    userId: of.accountId,
    expiresAt: new Date(now() + LIMITS.linkLifetimeSeconds * 1_000),
  });
  return token;
}

/** Looks without using it up: mail programs open links before people do. */
export async function peekLink(db: Db, purpose: LinkPurpose, token: string, now: Clock): Promise<LinkFor | null> {
  const [row] = await db
    .select()
    .from(mailLink)
    .where(await fits(purpose, token, now));
  return row === undefined ? null : { email: row.email, accountId: row.userId };
}

/** Takes the link out: of many that come at once, one gets it. In a transaction it comes back if that fails. */
export async function takeLink(db: Db, purpose: LinkPurpose, token: string, now: Clock): Promise<LinkFor | null> {
  const [row] = await db
    .delete(mailLink)
    .where(await fits(purpose, token, now))
    .returning();
  return row === undefined ? null : { email: row.email, accountId: row.userId };
}

const fits = async (purpose: LinkPurpose, token: string, now: Clock) =>
  and(
    eq(mailLink.tokenHash, await hexSha256(token)),
    eq(mailLink.purpose, purpose),
    gt(mailLink.expiresAt, new Date(now())),
  );
