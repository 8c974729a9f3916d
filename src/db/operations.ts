import { and, asc, eq, gt, inArray, ne, sql } from "drizzle-orm";
import { newId } from "../shared/ids.ts";
import { err, ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import type { Db } from "./client.ts";
import type { OperationWork } from "./schema.ts";
import {
  connectors,
  jobSettings,
  maintenanceNotices,
  nodes,
  operations,
  operationSteps,
  outbox,
  relaySettings,
  tenants,
} from "./schema.ts";

export type OperationKind = (typeof operations.$inferSelect)["kind"];

/** A new operation is due since this long, so that it is due as well for a provisioner whose clock is behind. */
const CLOCK_SKEW_MS = 10_000;

const dueFrom = (now: Date): Date => new Date(now.getTime() - CLOCK_SKEW_MS);

/** When an operation's next attempt is due, for people: of one that was just enqueued or retried that moment, without the allowance. */
export const nextAttemptOf = ({ nextAttemptAt, reason }: Pick<OperationRow, "nextAttemptAt" | "reason">): Date =>
  // Whatever was given back by a run has the reason for it.
  reason === null ? new Date(nextAttemptAt.getTime() + CLOCK_SKEW_MS) : nextAttemptAt;

/** What each kind of operation does, in order, unless it is enqueued with steps of its own. The provisioner has one file a step (src/provisioner/steps). */
export const PLANS = {
  "tenant-create": ["reserve-host", "schema", "choose-node", "push", "credentials", "publish", "activate"],
  // Visitors are turned away first; then what is still open ends where it leads to.
  "tenant-suspend": ["publish", "publish-jobs", "settle-lanes", "settle-node", "settle-services"],
  "tenant-resume": ["settle-node", "settle-lanes", "publish", "publish-jobs", "settle-services"],
  "tenant-routes": ["push", "publish"],
  "tenant-policy": ["publish"],
  "tenant-services": ["push", "publish", "settle-services"],
  // What leaves goes from visitors first; what comes works at the node before visitors are sent there.
  "tenant-hosts": ["withdraw-old-hosts", "push", "publish", "front-hosts", "settle-hosts"],
  // The new node serves it before visitors are sent there; the old one has it until the last of them have left.
  "tenant-move": [
    "leave-node",
    "choose-next-node",
    "push-next",
    "switch-node",
    "publish",
    "drain-old-node",
    "leave-node",
  ],
  "tenant-move-undo": ["publish", "drain-old-node", "leave-node"],
  // Those of its steps that the change had begun.
  "tenant-change-undo": ["drop-next-login", "settle-node", "publish"],
  "tenant-revoke-sessions": ["publish"],
  // Both logins work from the first step to the last one.
  "tenant-rotate-credentials": ["new-login", "switch-login", "push", "retire-login"],
  "tenant-delete": [
    "withdraw-host",
    "remove-jobs",
    "remove-from-node",
    "remove-fronts",
    "remove-connectors",
    "remove-members",
    "drop-schema",
    "forget",
  ],
  "connector-publish": ["publish-connector"],
  "connector-remove": ["remove-connector"],
  "relay-settings-publish": ["publish-settings"],
  // A new master, or one that finds a node anew, is told of the tenants that are there.
  "node-publish": ["publish-node", "fill-masters"],
  "node-remove": ["remove-node"],
  "node-drain": ["drain-node"],
  // Masters know nothing of maintenance: while there is any they send everything to the edge.
  "maintenance-publish": ["publish-maintenance", "fill-masters"],
  "cluster-domains": ["settle-domains"],
  "relay-drain": ["drain-lane"],
  "host-check": ["check-host"],
  "host-withdraw": ["withdraw-old-hosts"],
  "jobs-publish": ["publish-jobs"],
} as const satisfies Record<OperationKind, readonly string[]>;

export type StepName = (typeof PLANS)[OperationKind][number];

/** A new operation and the outbox row that announces it; send the message once the transaction has committed. */
export interface Enqueued {
  readonly operationId: string;
  readonly outboxId: string;
}

/**
 * Writes an operation with its steps and its outbox row. In the same transaction the caller has changed or inserted the subject's row: that
 * row's lock is what puts the operations of one subject in order. `steps`: instead of the kind's plan.
 */
export async function enqueueOperation(
  tx: Db,
  operation: {
    kind: OperationKind;
    subjectId: string;
    tenantId: string | null;
    now: Date;
    steps?: readonly StepName[] | undefined;
    work?: OperationWork | undefined;
  },
): Promise<Enqueued> {
  const operationId = newId("op");
  const outboxId = newId("out");
  const { kind, subjectId, tenantId, now } = operation;
  const names: readonly StepName[] = operation.steps ?? PLANS[kind];
  const steps = tx.$with("steps").as(
    tx
      .insert(operationSteps)
      .values(names.map((name, position) => ({ operationId, position, name })))
      .returning({ position: operationSteps.position }),
  );
  const announced = tx
    .$with("announced")
    .as(tx.insert(outbox).values({ id: outboxId, operationId, createdAt: now }).returning({ id: outbox.id }));
  // One statement, for whoever changes something waits for it.
  await tx
    .with(steps, announced)
    .insert(operations)
    .values({
      id: operationId,
      kind,
      subjectId,
      tenantId,
      work: operation.work ?? null,
      nextAttemptAt: dueFrom(now),
      createdAt: now,
    });
  return { operationId, outboxId };
}

/** The subject's oldest operation that has not ended; null when there is none. Under the lock of the subject's row no other can come. */
export async function openOperation(tx: Db, subjectId: string): Promise<{ id: string; kind: OperationKind } | null> {
  const [open] = await tx
    .select({ id: operations.id, kind: operations.kind })
    .from(operations)
    .where(and(eq(operations.subjectId, subjectId), inArray(operations.state, ["pending", "running"])))
    .orderBy(asc(operations.seq))
    .limit(1);
  return open ?? null;
}

/**
 * Ends a subject's open operations as failed, because what comes next makes them moot. A run that is at one of them has lost its lease: it
 * writes nothing any more, and what it still publishes carries an older revision than what comes next. `leaseUntil` stays: until then it may
 * still be in the middle of a step. Call it before the subject's row is locked: runs lock in that order. `kinds`: default all. Answers their ids.
 */
export async function cancelOpenOperations(
  tx: Db,
  subjectId: string,
  reason: string,
  now: Date,
  kinds?: readonly OperationKind[],
): Promise<string[]> {
  const open = await tx
    .select({ id: operations.id })
    .from(operations)
    .where(
      and(
        eq(operations.subjectId, subjectId),
        inArray(operations.state, ["pending", "running"]),
        kinds === undefined ? undefined : inArray(operations.kind, [...kinds]),
      ),
    )
    .orderBy(asc(operations.seq))
    .for("update");
  const ids = open.map(({ id }) => id);
  if (ids.length === 0) return ids;
  await tx
    .update(operationSteps)
    .set({ state: "failed", reason, finishedAt: now })
    .where(and(inArray(operationSteps.operationId, ids), eq(operationSteps.state, "running")));
  await tx
    .update(operations)
    .set({ state: "failed", reason, leaseToken: null, finishedAt: now })
    .where(inArray(operations.id, ids));
  return ids;
}

/** Whether a run whose operation was cancelled may still be in the middle of a step for this subject. */
export async function cancelledRunMayLive(db: Db, subjectId: string, now: Date): Promise<boolean> {
  const [one] = await db
    .select({ id: operations.id })
    .from(operations)
    .where(and(eq(operations.subjectId, subjectId), eq(operations.state, "failed"), gt(operations.leaseUntil, now)))
    .limit(1);
  return one !== undefined;
}

async function announce(tx: Db, operationId: string, now: Date): Promise<string> {
  const outboxId = newId("out");
  await tx.insert(outbox).values({ id: outboxId, operationId, createdAt: now });
  return outboxId;
}

export async function markSent(db: Db, outboxId: string, now: Date): Promise<void> {
  await db.update(outbox).set({ sentAt: now }).where(eq(outbox.id, outboxId));
}

/**
 * Subject of operations on a tenant's relay settings: apart from the tenant's own operations, so that neither waits for the other. (A tenant
 * that waits for its node must not hold up a limit.)
 */
export const relaySubject = {
  of: (tenantId: string): string => `relay:${tenantId}`,
  tenantOf: (subjectId: string): string => subjectId.replace(/^relay:/, ""),
};

/** Subject of publications of a tenant's jobs: apart from the tenant's own operations, so that neither waits for the other. */
export const jobsSubject = (tenantId: string): string => `jobs:${tenantId}`;

/** Subject of checks of a claimed host: apart from the tenant's own operations, which don't wait for somebody's DNS. */
export const claimSubject = {
  of: (tenantId: string, host: string): string => `host:${tenantId}:${host}`,
  parse(subjectId: string): { tenantId: string; host: string } {
    const [, tenantId = "", host = ""] = subjectId.split(":");
    return { tenantId, host };
  },
};

/** Subject of withdrawals of hosts that can't wait for what else is under way for the tenant. */
export const withdrawalSubject = (tenantId: string): string => `withdraw:${tenantId}`;

/** Subject of a node's drain: apart from the node's own operations, since it may take hours. */
export const nodeDrainSubject = {
  of: (nodeId: string): string => `drain:${nodeId}`,
  nodeOf: (subjectId: string): string => subjectId.replace(/^drain:/, ""),
};

/** Subject of operations on a maintenance notice. */
export const maintenanceSubject = {
  of: (scope: string): string => `maintenance:${scope}`,
  scopeOf: (subjectId: string): string => subjectId.replace(/^maintenance:/, ""),
};

/** Subject of drains: one for both sides, so that never both are drained at once. */
export const DRAIN_SUBJECT = "relay-lanes";

const nextRevision = sql`nextval('control.revision')`;

/** Raises a subject's revision, so that what follows beats everything published before. Locks its row. */
async function raiseRevision(tx: Db, kind: OperationKind, subjectId: string): Promise<void> {
  const set = { revision: nextRevision };
  if (kind.startsWith("tenant-")) await tx.update(tenants).set(set).where(eq(tenants.id, subjectId));
  else if (kind === "relay-settings-publish")
    await tx
      .update(relaySettings)
      .set(set)
      .where(eq(relaySettings.tenantId, relaySubject.tenantOf(subjectId)));
  else if (kind === "jobs-publish")
    await tx
      .update(jobSettings)
      .set(set)
      .where(eq(jobSettings.tenantId, subjectId.replace(/^jobs:/, "")));
  else if (kind.startsWith("connector-")) await tx.update(connectors).set(set).where(eq(connectors.id, subjectId));
  else if (kind === "maintenance-publish")
    await tx
      .update(maintenanceNotices)
      .set(set)
      .where(eq(maintenanceNotices.scope, maintenanceSubject.scopeOf(subjectId)));
  else if (kind === "node-publish") await tx.update(nodes).set(set).where(eq(nodes.id, subjectId));
}

export type RetryRefused = { readonly reason: "unknown" | "not-failed" | "superseded" };

/**
 * Puts a failed operation to work again from the step that failed. Only the newest one of its subject: after a later operation its outcome
 * would be out of date. The revision is raised, so a node that refused the old one is asked anew.
 */
export async function retryOperation(tx: Db, id: string, now: Date): Promise<Result<Enqueued, RetryRefused>> {
  const [found] = await tx.select().from(operations).where(eq(operations.id, id));
  if (found === undefined) return err({ reason: "unknown" });
  await raiseRevision(tx, found.kind, found.subjectId);
  const [operation] = await tx.select().from(operations).where(eq(operations.id, id)).for("update");
  if (operation?.state !== "failed") return err({ reason: "not-failed" });
  const [newer] = await tx
    .select({ id: operations.id })
    .from(operations)
    .where(and(eq(operations.subjectId, operation.subjectId), gt(operations.seq, operation.seq)))
    .limit(1);
  if (newer !== undefined) return err({ reason: "superseded" });
  if (operation.kind === "tenant-create")
    await tx.update(tenants).set({ state: "provisioning" }).where(eq(tenants.id, operation.subjectId));
  await tx
    .update(operations)
    .set({
      state: "pending",
      attempts: 0,
      reason: null,
      work: sql`${operations.work} - 'progress'`,
      nextAttemptAt: dueFrom(now),
      finishedAt: null,
      deadLetteredAt: null,
    })
    .where(eq(operations.id, id));
  await tx
    .update(operationSteps)
    .set({ state: "pending", attempts: 0, reason: null, startedAt: null, finishedAt: null })
    .where(and(eq(operationSteps.operationId, id), ne(operationSteps.state, "done")));
  return ok({ operationId: id, outboxId: await announce(tx, id, now) });
}

export type OperationRow = typeof operations.$inferSelect;
export type StepRow = typeof operationSteps.$inferSelect;

/** Operations with their steps, steps in order; the order of the operations is the caller's. */
export async function withSteps(
  db: Db,
  rows: readonly OperationRow[],
): Promise<{ operation: OperationRow; steps: StepRow[] }[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const steps = await db
    .select()
    .from(operationSteps)
    .where(inArray(operationSteps.operationId, ids))
    .orderBy(asc(operationSteps.position));
  return rows.map((operation) => ({
    operation,
    steps: steps.filter((step) => step.operationId === operation.id),
  }));
}
