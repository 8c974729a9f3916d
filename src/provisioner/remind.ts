import { and, asc, desc, eq, inArray, isNotNull, isNull, lt, or, sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { markSent } from "../db/operations.ts";
import { operations, outbox } from "../db/schema.ts";
import {
  LEASE_MS,
  REMIND_AGAIN_MAX_MS,
  REMIND_AGAIN_MS,
  SLOW_STEP_MS,
  STANDSTILL_MS,
  SWEEP_BATCH,
  SWEEP_GRACE_MS,
  TAKEN_OUT_OF_ORDER_MS,
} from "./limits.ts";
import type { ProvisionerPorts } from "./ports.ts";

/**
 * Sends what the outbox still holds, and reminds of operations whose message got lost: it never came, or the run that took it died. One message
 * too many is harmless, but whoever waits in a long queue is not sent again for that. Answers how many messages it sent.
 */
export async function remind(ports: Pick<ProvisionerPorts, "db" | "clock" | "send">): Promise<number> {
  const { db } = ports;
  const nowMs = ports.clock();
  const sent = new Set<string>();

  const unsent = await db
    .select()
    .from(outbox)
    .where(and(isNull(outbox.sentAt), lt(outbox.createdAt, new Date(nowMs - SWEEP_GRACE_MS))))
    .orderBy(asc(outbox.createdAt))
    .limit(SWEEP_BATCH);
  for (const row of unsent) {
    await ports.send({ kind: "operation", operationId: row.operationId }, 0);
    await markSent(db, row.id, new Date(nowMs));
    sent.add(row.operationId);
  }

  const lost = await db
    .select({ id: operations.id, leaseUntil: operations.leaseUntil })
    .from(operations)
    .where(and(or(await isLost(db, nowMs), isAbandoned(nowMs)), mayBeReminded(nowMs)))
    .orderBy(asc(operations.nextAttemptAt))
    .limit(SWEEP_BATCH);
  for (const { id, leaseUntil } of lost) {
    if (sent.has(id)) continue;
    // Its run may be dead: the message comes when the lease is over, and finds nothing to do if it was not.
    const leasedMs = Math.max(0, (leaseUntil?.getTime() ?? 0) - nowMs);
    const delaySeconds = leasedMs === 0 ? 0 : Math.ceil(leasedMs / 1000) + 1;
    await ports.send({ kind: "operation", operationId: id }, delaySeconds);
    sent.add(id);
  }

  if (sent.size === 0) return 0;
  // Whose row is locked is being taken at this moment.
  const free = db
    .select({ id: operations.id })
    .from(operations)
    .where(inArray(operations.id, [...sent]))
    .for("no key update", { skipLocked: true });
  await db
    .update(operations)
    .set({ remindedAt: new Date(nowMs), reminders: sql`${operations.reminders} + 1` })
    .where(inArray(operations.id, free));
  return sent.size;
}

/**
 * It is due and its turn, and its message is not just waiting: operations that were asked for well after it have begun, or none has begun for a
 * while, so that no queue can be long. (Messages are taken about in the order in which they were sent; a queue tells nobody its length.)
 */
async function isLost(db: Db, nowMs: number): Promise<SQL | undefined> {
  const [newest] = await db
    .select({ createdAt: operations.createdAt, startedAt: operations.startedAt })
    .from(operations)
    .where(isNotNull(operations.startedAt))
    .orderBy(desc(operations.seq))
    .limit(1);
  const standsStill = (newest?.startedAt?.getTime() ?? 0) < nowMs - STANDSTILL_MS;
  const overtakenMs = (newest?.createdAt.getTime() ?? 0) - TAKEN_OUT_OF_ORDER_MS;
  const expectedBefore = new Date(Math.min(nowMs - SWEEP_GRACE_MS, standsStill ? nowMs : overtakenMs));
  // Whoever waits for an earlier operation gets a message when that has ended.
  const waitsItsTurn = sql`exists (
    select 1 from ${operations} earlier where earlier.subject_id = ${operations.subjectId}
      and earlier.seq < ${operations.seq} and earlier.state in ('pending', 'running'))`;
  return and(
    eq(operations.state, "pending"),
    lt(operations.nextAttemptAt, expectedBefore),
    lt(operations.createdAt, expectedBefore),
    sql`not ${waitsItsTurn}`,
  );
}

/** Somebody took it, and has renewed its lease for so long no more that it may be dead. */
const isAbandoned = (nowMs: number): SQL | undefined =>
  and(eq(operations.state, "running"), lt(operations.leaseUntil, new Date(nowMs + LEASE_MS - SLOW_STEP_MS)));

/** Each further time after twice as long; taken up it counts anew. */
function mayBeReminded(nowMs: number): SQL | undefined {
  const waitMs = sql`least(${REMIND_AGAIN_MAX_MS}, ${REMIND_AGAIN_MS} * 2 ^ (${operations.reminders} - 1))`;
  const again = sql`${operations.remindedAt} + ${waitMs} * interval '1 millisecond'`;
  return or(isNull(operations.remindedAt), sql`${again} <= ${new Date(nowMs).toISOString()}`);
}
