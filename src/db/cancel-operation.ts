import { and, eq, inArray, sql } from "drizzle-orm";
import { newId } from "../shared/ids.ts";
import { err, ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import type { Db } from "./client.ts";
import { canBeUndone, undoChange } from "./changes.ts";
import { undoMove } from "./moves.ts";
import { cancelOpenOperations, enqueueOperation, openOperation } from "./operations.ts";
import type { Enqueued, OperationKind, OperationRow, StepName } from "./operations.ts";
import { operations, operationSteps, outbox, tenants } from "./schema.ts";

/**
 * What can be cancelled, with what then holds, for people. The others must not stay half done: a revocation, a suspension or a removal that
 * was stored and never reached edge, lanes or nodes would be worse than one that takes its time.
 */
const LEFT: Partial<Record<OperationKind, string>> = {
  "tenant-create": "what was made of the tenant is taken back",
  "tenant-routes": "the tenant has the routes of before",
  "tenant-services": "the tenant has the services and routes of before",
  "tenant-move": "the tenant stays with the node that serves it, the other one lets it go",
  "cluster-domains":
    "tenants that were not reached keep their hosts as they are; retry it, or set the cluster's base domains, to finish",
  "node-drain": "the node takes no new tenants until it is made active; moves that have begun go on",
  "tenant-rotate-credentials": "the tenant's services keep their login of the database",
  "relay-drain":
    "the side takes connectors and visitors again when its hold is over, or when the other side is drained",
  "host-check": "the claim is looked at again at its usual time",
};

export interface Cancelled {
  readonly operationId: string;
  /** The operation that takes back what was made; null where nothing has to be. */
  readonly rollback: Enqueued | null;
  /** What waited behind it and comes before the rollback; null: nothing did. */
  readonly next: Enqueued | null;
}

export type CancelRefused =
  | { readonly reason: "unknown" | "ended" }
  | { readonly reason: "not-cancellable"; readonly kind: OperationKind }
  /** What it makes is in use: taking it back is another change. */
  | { readonly reason: "too-late"; readonly kind: OperationKind; readonly step: StepName };

/** Once this step is done, there is only the way on. */
const NO_RETURN: Partial<Record<OperationKind, StepName>> = {
  "tenant-routes": "publish",
  "tenant-services": "publish",
  "tenant-move": "publish",
  // From here on whoever asks for the login gets the new one.
  "tenant-rotate-credentials": "switch-login",
};

/**
 * Ends an operation for good, before the step from which there is no way back: it is failed with a reason that says what holds now, and what it
 * did is taken back. A run that is at it finds itself fenced at its next commit. A tenant's creation is rolled back to nothing, also when it has
 * failed already. In a transaction that holds no lock of the subject yet: runs lock the operation first.
 */
export async function cancelOperation(tx: Db, id: string, now: Date): Promise<Result<Cancelled, CancelRefused>> {
  const [operation] = await tx.select().from(operations).where(eq(operations.id, id)).for("update");
  if (operation === undefined) return err({ reason: "unknown" });
  const { kind, subjectId, state } = operation;
  const left = LEFT[kind];
  const isOpen = state === "pending" || state === "running";
  if (left === undefined) return err(isOpen ? { reason: "not-cancellable", kind } : { reason: "ended" });
  const reason = `cancelled: ${left}`;
  if (kind === "tenant-create") {
    if (state === "succeeded") return err({ reason: "ended" });
    await cancelOpenOperations(tx, subjectId, reason, now);
    const rollback = await rollBackTenant(tx, subjectId, now);
    return rollback === null ? err({ reason: "ended" }) : ok({ operationId: id, rollback, next: null });
  }
  if (!isOpen) return err({ reason: "ended" });
  const step = NO_RETURN[kind];
  if (step !== undefined && (await isDone(tx, id, step))) return err({ reason: "too-late", kind, step });
  await tx
    .update(operationSteps)
    .set({ state: "failed", reason, finishedAt: now })
    .where(and(eq(operationSteps.operationId, id), eq(operationSteps.state, "running")));
  // leaseUntil stays: until then a run may still be in the middle of a step (cancelledRunMayLive).
  await tx
    .update(operations)
    .set({ state: "failed", reason, leaseToken: null, finishedAt: now })
    .where(eq(operations.id, id));
  const rollback = await rollBack(tx, operation, now);
  return ok({ operationId: id, rollback, next: await wakeNext(tx, subjectId, rollback, now) });
}

async function rollBack(tx: Db, operation: OperationRow, now: Date): Promise<Enqueued | null> {
  const { kind, subjectId } = operation;
  if (kind === "tenant-move") return await undoMove(tx, operation, now);
  if (canBeUndone(kind)) return await undoChange(tx, operation, now);
  if (kind !== "tenant-rotate-credentials" || operation.startedAt === null) return null;
  await tx
    .update(tenants)
    .set({ revision: sql`nextval('control.revision')` })
    .where(eq(tenants.id, subjectId));
  const undo = { kind: "tenant-change-undo", subjectId, tenantId: subjectId, now } as const;
  return await enqueueOperation(tx, { ...undo, steps: ["drop-next-login"] });
}

async function isDone(tx: Db, operationId: string, name: StepName): Promise<boolean> {
  const [step] = await tx
    .select({ position: operationSteps.position })
    .from(operationSteps)
    .where(
      and(eq(operationSteps.operationId, operationId), eq(operationSteps.name, name), eq(operationSteps.state, "done")),
    );
  return step !== undefined;
}

/** Null: the tenant works, goes, or is gone already. */
async function rollBackTenant(tx: Db, tenantId: string, now: Date): Promise<Enqueued | null> {
  const [tenant] = await tx
    .update(tenants)
    .set({ state: "deleting", revision: sql`nextval('control.revision')`, updatedAt: now })
    .where(and(eq(tenants.id, tenantId), inArray(tenants.state, ["provisioning", "failed"])))
    .returning({ id: tenants.id });
  if (tenant === undefined) return null;
  return await enqueueOperation(tx, { kind: "tenant-delete", subjectId: tenantId, tenantId, now });
}

async function wakeNext(tx: Db, subjectId: string, rollback: Enqueued | null, now: Date): Promise<Enqueued | null> {
  const next = await openOperation(tx, subjectId);
  if (next === null || next.id === rollback?.operationId) return null;
  const outboxId = newId("out");
  await tx.insert(outbox).values({ id: outboxId, operationId: next.id, createdAt: now });
  return { operationId: next.id, outboxId };
}
