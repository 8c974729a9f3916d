import { and, eq, gt, inArray, like, lte, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { rateLimit } from "../db/portal-schema.ts";
import type { Clock } from "../shared/clock.ts";
import { newId } from "../shared/ids.ts";
import { base64Url, sha256 } from "./encoding.ts";
import { LIMITS } from "./limits.ts";

/**
 * Tries to sign in to one account, from all addresses together: who guesses has many. Counted by the e-mail that was typed, whether an
 * account has it or not, so the answer tells nothing. In the table of better-auth's own limits, whose keys begin with an address.
 */
export interface AccountTries {
  /** Counts a try before it is made, so that many at once count too. Null: go on; otherwise seconds until the next may be made. */
  begin(email: string): Promise<number | null>;
  /** The password was not looked at: the try does not count. */
  takeBack(email: string): Promise<void>;
  /** The right password was given: the failures before were the owner's own, as far as anybody can tell. */
  forget(email: string): Promise<void>;
}

const PREFIX = "account:";

export function createAccountTries(db: Db, now: Clock): AccountTries {
  const { max, windowSeconds } = LIMITS.accountTries;
  const windowMs = windowSeconds * 1_000;

  return {
    async begin(email) {
      const nowMs = now();
      await deleteBefore(db, nowMs - windowMs);
      const isOver = lte(rateLimit.lastRequest, nowMs - windowMs);
      const [row] = await db
        .insert(rateLimit)
        .values({ id: newId("key"), key: await keyOf(email), count: 1, lastRequest: nowMs })
        .onConflictDoUpdate({
          target: rateLimit.key,
          // The window begins with its first try; a refused one makes it no longer.
          set: {
            count: sql`case when ${isOver} then 1 else least(${rateLimit.count}, ${max}) + 1 end`,
            lastRequest: sql`case when ${isOver} then ${nowMs}::bigint else ${rateLimit.lastRequest} end`,
          },
        })
        .returning();
      if (row === undefined || row.count <= max) return null;
      return Math.max(1, Math.ceil((row.lastRequest + windowMs - nowMs) / 1_000));
    },
    async takeBack(email) {
      await db
        .update(rateLimit)
        .set({ count: sql`${rateLimit.count} - 1` })
        .where(and(eq(rateLimit.key, await keyOf(email)), gt(rateLimit.count, 0)));
    },
    async forget(email) {
      await db.delete(rateLimit).where(eq(rateLimit.key, await keyOf(email)));
    },
  };
}

/** Rows of windows that are over. What another request has locked is left to it, so that two can't wait for each other. */
async function deleteBefore(db: Db, beforeMs: number): Promise<void> {
  const over = db
    .select({ id: rateLimit.id })
    .from(rateLimit)
    .where(and(like(rateLimit.key, `${PREFIX}%`), lte(rateLimit.lastRequest, beforeMs)))
    .for("update", { skipLocked: true });
  await db.delete(rateLimit).where(inArray(rateLimit.id, over));
}

/** better-auth compares in lower case. A hash: what people type here by mistake may be a password. */
async function keyOf(email: string): Promise<string> {
  return PREFIX + base64Url(await sha256(email.toLowerCase()));
}
