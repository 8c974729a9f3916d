import { and, asc, eq, inArray, ne, sql } from "drizzle-orm";
import { recordAudit } from "../db/audit.ts";
import { sqlState, UNIQUE_VIOLATION } from "../db/client.ts";
import type { Db } from "../db/client.ts";
import { canBeUndone, undoChange } from "../db/changes.ts";
import { undoMove } from "../db/moves.ts";
import type { OperationRow, StepRow } from "../db/operations.ts";
import { operations, operationSteps, services, tenants } from "../db/schema.ts";
import { LEASE_MS, MAX_REASON_LENGTH } from "./limits.ts";
import type { Decision } from "./machine.ts";

/**
 * How an operation is taken, carried on and finished. A run holds a lease on its operation's row; every change that it makes locks that row
 * and checks the lease in the same transaction, so a run that was overtaken can't write any more. Conditional updates only: Hyperdrive knows
 * neither advisory locks nor LISTEN.
 */
export type Claim =
  | { readonly kind: "claimed"; readonly run: Run }
  /** Not due yet. */
  | { readonly kind: "early"; readonly afterMs: number }
  /** Somebody else is at it, or an earlier operation of the same subject has to come first. */
  | { readonly kind: "busy" }
  | { readonly kind: "finished" }
  | { readonly kind: "unknown" };

export interface Run {
  readonly operation: OperationRow;
  readonly steps: readonly StepRow[];
  readonly leaseToken: string;
}

/** The lease was lost: another run has the operation, or it was ended from outside. This run must stop without a trace. */
export class LeaseLost extends Error {
  override readonly name = "LeaseLost";
}

const OPEN = ["pending", "running"] as const;
const short = (reason: string): string => reason.slice(0, MAX_REASON_LENGTH);

export async function claimOperation(db: Db, id: string, leaseToken: string, now: Date): Promise<Claim> {
  const at = now.toISOString();
  const claimable = sql`${operations.id} = (
    select candidate.id from ${operations} candidate
    where candidate.id = ${id} and candidate.state in ('pending', 'running') and candidate.next_attempt_at <= ${at}
      and (candidate.lease_until is null or candidate.lease_until < ${at})
      and not exists (
        select 1 from ${operations} earlier where earlier.subject_id = candidate.subject_id
          and earlier.seq < candidate.seq and earlier.state in ('pending', 'running'))
    for update skip locked)`;
  try {
    const [operation] = await db
      .update(operations)
      .set({
        state: "running",
        leaseToken,
        leaseUntil: new Date(now.getTime() + LEASE_MS),
        startedAt: sql`coalesce(${operations.startedAt}, ${at})`,
        remindedAt: null,
        reminders: 0,
      })
      .where(claimable)
      .returning();
    if (operation !== undefined) {
      const steps = await db
        .select()
        .from(operationSteps)
        .where(eq(operationSteps.operationId, id))
        .orderBy(asc(operationSteps.position));
      return { kind: "claimed", run: { operation, steps, leaseToken } };
    }
  } catch (error) {
    // operations_one_running: an operation of the same subject was claimed at the same moment.
    if (sqlState(error) === UNIQUE_VIOLATION) return { kind: "busy" };
    throw error;
  }
  const [row] = await db.select().from(operations).where(eq(operations.id, id));
  if (row === undefined) return { kind: "unknown" };
  if (row.state === "succeeded" || row.state === "failed") return { kind: "finished" };
  const afterMs = row.nextAttemptAt.getTime() - now.getTime();
  return afterMs > 0 ? { kind: "early", afterMs } : { kind: "busy" };
}

/** A transaction that holds the operation's row and has checked the lease. Throws LeaseLost. */
export async function fenced<T>(db: Db, run: Run, work: (tx: Db) => Promise<T>): Promise<T> {
  return await db.transaction(async (tx) => {
    const [held] = await tx
      .select({ id: operations.id })
      .from(operations)
      .where(and(eq(operations.id, run.operation.id), eq(operations.leaseToken, run.leaseToken)))
      .for("update");
    if (held === undefined) throw new LeaseLost("another run has this operation");
    return await work(tx);
  });
}

const stepOf = (run: Run, position: number) =>
  and(eq(operationSteps.operationId, run.operation.id), eq(operationSteps.position, position));

/**
 * Renews the lease, marks one step as done (`finished`, null: none) and the next one as begun. One statement, since every
 * operation does this at each of its steps: the lease's row is locked and checked by its update, and nothing is written without it.
 */
export async function beginStep(
  db: Db,
  run: Run,
  position: number,
  now: Date,
  finished: number | null = null,
): Promise<Begun> {
  const { operation, leaseToken } = run;
  const at = now.toISOString();
  const until = new Date(now.getTime() + LEASE_MS).toISOString();
  const [begun] = await db.execute<{ attempts: number; startedMs: number }>(sql`
    with held as (
      update ${operations} set lease_until = ${until}, reason = case when ${finished}::int is null then reason end
      where id = ${operation.id} and lease_token = ${leaseToken} returning id),
    done as (
      update ${operationSteps} set state = 'done', reason = null, finished_at = ${at}
      where operation_id in (select id from held) and position = ${finished}::int)
    update ${operationSteps} set state = 'running', started_at = coalesce(started_at, ${at})
    where operation_id in (select id from held) and position = ${position}
    returning attempts, (extract(epoch from started_at) * 1000)::float8 as "startedMs"`);
  if (begun === undefined) throw new LeaseLost("another run has this operation");
  return { attempts: begun.attempts, startedAt: new Date(begun.startedMs) };
}

/** A step that is under way. */
interface Begun {
  /** Errors of it so far. */
  readonly attempts: number;
  readonly startedAt: Date;
}

/** Gives the operation back until its next attempt. */
export async function pause(
  db: Db,
  run: Run,
  position: number,
  decision: Extract<Decision, { kind: "pause" }>,
  now: Date,
): Promise<void> {
  const one = decision.failedAttempt ? 1 : 0;
  const reason = short(decision.reason);
  await fenced(db, run, async (tx) => {
    await tx
      .update(operationSteps)
      .set({ state: "pending", reason, attempts: sql`${operationSteps.attempts} + ${one}` })
      .where(stepOf(run, position));
    await tx
      .update(operations)
      .set({
        state: "pending",
        reason,
        attempts: sql`${operations.attempts} + ${one}`,
        nextAttemptAt: new Date(now.getTime() + decision.delayMs),
        leaseToken: null,
        leaseUntil: null,
      })
      .where(eq(operations.id, run.operation.id));
  });
}

const ENDED = { leaseToken: null, leaseUntil: null };

/** `finished`: the last step; null: it was done before. */
export async function succeed(db: Db, run: Run, finished: number | null, now: Date): Promise<void> {
  await fenced(db, run, async (tx) => {
    await Promise.all([
      tx
        .update(operationSteps)
        .set({ state: "done", reason: null, finishedAt: now })
        .where(stepOf(run, finished ?? -1)),
      tx
        .update(operations)
        // What it replaced is not needed any more.
        .set({ ...ENDED, state: "succeeded", reason: null, finishedAt: now, work: sql`${operations.work} - 'before'` })
        .where(eq(operations.id, run.operation.id)),
      audit(tx, run.operation, "operation.succeeded", {}, now),
    ]);
  });
}

/** Ends the operation as failed, from within its run. */
export async function failRun(db: Db, run: Run, position: number, reason: string, now: Date): Promise<void> {
  await fenced(db, run, async (tx) => {
    await tx
      .update(operationSteps)
      .set({ state: "failed", reason: short(reason), attempts: sql`${operationSteps.attempts} + 1`, finishedAt: now })
      .where(stepOf(run, position));
    await markFailed(tx, run.operation, reason, now);
  });
}

/** Ends an operation as failed from outside (its message was dead-lettered). The operation, or null when it had ended before. */
export async function failFromOutside(db: Db, id: string, reason: string, now: Date): Promise<OperationRow | null> {
  return await db.transaction(async (tx) => {
    const [operation] = await tx
      .select()
      .from(operations)
      .where(and(eq(operations.id, id), inArray(operations.state, [...OPEN])))
      .for("update");
    if (operation === undefined) return null;
    await tx
      .update(operationSteps)
      .set({ state: "failed", reason: short(reason), finishedAt: now })
      .where(and(eq(operationSteps.operationId, id), eq(operationSteps.state, "running")));
    await markFailed(tx, operation, reason, now);
    return operation;
  });
}

async function markFailed(tx: Db, operation: OperationRow, reason: string, now: Date): Promise<void> {
  await tx
    .update(operations)
    .set({
      ...ENDED,
      state: "failed",
      reason: short(reason),
      attempts: sql`${operations.attempts} + 1`,
      finishedAt: now,
      deadLetteredAt: now,
    })
    .where(eq(operations.id, operation.id));
  if (operation.kind === "tenant-create") {
    await tx
      .update(tenants)
      .set({ state: "failed", revision: sql`nextval('control.revision')`, updatedAt: now })
      .where(and(eq(tenants.id, operation.subjectId), ne(tenants.state, "deleting")));
    await tx
      .update(services)
      .set({ status: "UNAVAILABLE", updatedAt: now })
      .where(eq(services.tenantId, operation.subjectId));
  }
  if (operation.kind === "tenant-move") await undoMove(tx, operation, now);
  if (canBeUndone(operation.kind)) await undoChange(tx, operation, now);
  await audit(tx, operation, "operation.failed", { reason: short(reason) }, now);
}

async function audit(
  tx: Db,
  operation: OperationRow,
  action: string,
  details: Record<string, unknown>,
  now: Date,
): Promise<void> {
  const { subjectId, tenantId, id, kind } = operation;
  await recordAudit(
    tx,
    {
      actor: "system:provisioner",
      action,
      subjectId,
      tenantId,
      requestId: null,
      details: { operation: id, kind, ...details },
    },
    now,
  );
}
