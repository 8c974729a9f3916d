import { and, eq, gt, inArray, like, lte, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { rateLimit } from "../db/portal-schema.ts";
import type { Clock } from "../shared/clock.ts";
import { newId } from "../shared/ids.ts";
import { base64Url, sha256 } from "./encoding.ts";

/**
 * Counts tries of one kind, in windows, whichever isolate answers. By what was typed, whether it exists or not, so the answer tells nothing.
 * In the table of better-auth's own limits, whose keys begin with an address.
 */
export interface Tries {
  /** Counts a try before it is made, so that many at once count too. Null: go on; otherwise seconds until the next may be made. */
  begin(of: string): Promise<number | null>;
  /** Nothing was tried after all: it does not count. */
  takeBack(of: string): Promise<void>;
  /** It went well: those before were the owner's own, as far as anybody can tell. */
  forget(of: string): Promise<void>;
}

/** Kinds of tries, as the rows' keys begin. */
export type TriesPrefix = "account:" | "mail:" | "address:";

export function createTries(
  db: Db,
  now: Clock,
  prefix: TriesPrefix,
  { max, windowSeconds }: { readonly max: number; readonly windowSeconds: number },
): Tries {
  const windowMs = windowSeconds * 1_000;
  const keyOf = (of: string) => keyWith(prefix, of);

  return {
    async begin(of) {
      const nowMs = now();
      await deleteBefore(db, prefix, nowMs - windowMs);
      const isOver = lte(rateLimit.lastRequest, nowMs - windowMs);
      const [row] = await db
        .insert(rateLimit)
        .values({ id: newId("key"), key: await keyOf(of), count: 1, lastRequest: nowMs })
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
    async takeBack(of) {
      await db
        .update(rateLimit)
        .set({ count: sql`${rateLimit.count} - 1` })
        .where(and(eq(rateLimit.key, await keyOf(of)), gt(rateLimit.count, 0)));
    },
    async forget(of) {
      await db.delete(rateLimit).where(eq(rateLimit.key, await keyOf(of)));
    },
  };
}

/** Rows of windows that are over. What another request has locked is left to it, so that two can't wait for each other. */
async function deleteBefore(db: Db, prefix: string, beforeMs: number): Promise<void> {
  const over = db
    .select({ id: rateLimit.id })
    .from(rateLimit)
    .where(and(like(rateLimit.key, `${prefix}%`), lte(rateLimit.lastRequest, beforeMs)))
    .for("update", { skipLocked: true });
  await db.delete(rateLimit).where(inArray(rateLimit.id, over));
}

/** Lower case, as better-auth compares addresses. A hash: what people type here by mistake may be a password. */
async function keyWith(prefix: string, of: string): Promise<string> {
  return prefix + base64Url(await sha256(of.toLowerCase()));
}
