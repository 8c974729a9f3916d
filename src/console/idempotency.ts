import { and, eq, lt } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { idempotencyKeys } from "../db/schema.ts";
import { deriveSealingKey, macOf, open, seal } from "../db/secrets.ts";
import { err, ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import type { Caller } from "./auth.ts";
import type { Failure } from "./failure.ts";
import { IDEMPOTENCY_LIFETIME_MS } from "./limits.ts";

/** An answer as it is kept for repetitions. */
export interface StoredAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: unknown;
}

export interface Reservation {
  /** Keeps the answer, in the same transaction as the change that it reports. */
  store(answer: StoredAnswer): Promise<void>;
}

/**
 * Claims the caller's key for this request, or gives the answer that the same request got before. A request that runs at this moment is
 * waited for: its row is locked until it commits. A failed request leaves no row, so it can be repeated. Answers are encrypted under a key
 * made from the caller's token, because some show a secret once.
 */
export async function reserveKey(
  tx: Db,
  caller: Caller,
  key: string,
  request: { method: string; path: string; body: string },
  now: Date,
): Promise<Result<{ reservation: Reservation } | { replay: StoredAnswer }, Failure>> {
  const mine = and(eq(idempotencyKeys.tokenId, caller.tokenId), eq(idempotencyKeys.key, key));
  const requestMac = await macOf(caller.secret, `${request.method}\n${request.path}\n${request.body}`);
  const sealingKey = await deriveSealingKey(caller.secret, "causeway idempotency answer");
  const context = `${caller.tokenId}/${key}`;
  const fresh = {
    requestMac,
    sealedAnswer: null,
    createdAt: now,
    expiresAt: new Date(now.getTime() + IDEMPOTENCY_LIFETIME_MS),
  };
  const [claimed] = await tx
    .insert(idempotencyKeys)
    .values({ tokenId: caller.tokenId, key, ...fresh })
    .onConflictDoUpdate({
      target: [idempotencyKeys.tokenId, idempotencyKeys.key],
      set: fresh,
      setWhere: lt(idempotencyKeys.expiresAt, now),
    })
    .returning({ key: idempotencyKeys.key });
  if (claimed !== undefined) {
    const store = async (answer: StoredAnswer) => {
      const sealedAnswer = await seal(sealingKey, JSON.stringify(answer), context);
      await tx.update(idempotencyKeys).set({ sealedAnswer }).where(mine);
    };
    return ok({ reservation: { store } });
  }
  const [row] = await tx.select().from(idempotencyKeys).where(mine);
  if (row?.requestMac !== requestMac)
    return err({ code: "conflict", detail: "This Idempotency-Key was used for another request. Take a new one." });
  const text = row.sealedAnswer === null ? null : await open(sealingKey, row.sealedAnswer, context);
  if (text === null) throw new Error("a kept answer could not be opened");
  const replay: StoredAnswer = JSON.parse(text);
  return ok({ replay });
}
