import { and, asc, count, eq, gte, inArray, or, sql } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { enqueueOperation, nodeDrainSubject } from "../../db/operations.ts";
import type { Enqueued } from "../../db/operations.ts";
import { nodes, operations, tenants } from "../../db/schema.ts";
import { NODE_DRAIN_PARALLEL, NODE_DRAIN_ROUND_MS } from "../limits.ts";
import type { StepOutcome } from "../machine.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

const OPEN = ["pending", "running"] as const;

/**
 * Empties a node: begins a move for a few of its tenants at a time until it has none left. Which those are is read anew in every round, so a
 * run that dies costs nothing. A tenant whose move failed is left where it is, and the drain fails in the end with the first such reason;
 * tried again it tries those again.
 */
export const drainNode: Step = async ({ ports, operation, begunAt, commit }) => {
  const nodeId = nodeDrainSubject.nodeOf(operation.subjectId);
  const now = new Date(ports.clock());
  const drainMs = operation.work !== null && "drainMs" in operation.work ? operation.work.drainMs : 0;
  const { outcome, begun } = await commit(async (tx): Promise<{ outcome: StepOutcome; begun: Enqueued[] }> => {
    const [node] = await tx.select().from(nodes).where(eq(nodes.id, nodeId)).for("share");
    if (node?.state !== "draining")
      return { outcome: { kind: "give-up", reason: "the node is not draining any more" }, begun: [] };
    const failed = await failedMoves(tx, nodeId, begunAt);
    const moving = await movesFrom(tx, nodeId);
    const begun: Enqueued[] = [];
    for (const tenantId of await nextTenants(tx, nodeId, begunAt, NODE_DRAIN_PARALLEL - moving)) {
      await tx
        .update(tenants)
        .set({ revision: sql`nextval('control.revision')` })
        .where(eq(tenants.id, tenantId));
      const work = { toNodeId: null, drainMs };
      begun.push(await enqueueOperation(tx, { kind: "tenant-move", subjectId: tenantId, tenantId, now, work }));
    }
    const left = await tenantsLeft(tx, nodeId);
    return { outcome: outcomeOf(left, moving + begun.length, failed), begun };
  });
  for (const message of begun) await ports.send({ kind: "operation", ...message }, 0);
  return outcome;
};

interface Failed {
  readonly tenantId: string;
  readonly reason: string | null;
}

function outcomeOf(left: number, moving: number, failed: readonly Failed[]): StepOutcome {
  if (left === 0) return DONE;
  const [first] = failed;
  if (first !== undefined && left <= failed.length)
    return {
      kind: "give-up",
      reason: `${failed.length} tenants could not be moved; ${first.tenantId}: ${first.reason ?? "no reason is known"}`,
    };
  const unmoved = failed.length === 0 ? "" : `, ${failed.length} could not be moved`;
  const reason = `${left} tenants are left, ${moving} of them are being brought up elsewhere${unmoved}`;
  return { kind: "more", reason, delayMs: NODE_DRAIN_ROUND_MS };
}

/** Those that it has or is to let go. A tenant whose creation failed serves nobody and holds up nothing, nor does one that is deleted. */
async function tenantsLeft(tx: Db, nodeId: string): Promise<number> {
  const serving = inArray(tenants.state, ["provisioning", "active", "suspended"]);
  const here = or(eq(tenants.nodeId, nodeId), eq(tenants.leavingNodeId, nodeId));
  const [row] = await tx.select({ n: count() }).from(tenants).where(and(here, serving));
  return row?.n ?? 0;
}

const movable = (nodeId: string) => and(eq(tenants.nodeId, nodeId), inArray(tenants.state, ["active", "suspended"]));

/** Moves away that wait for their new node. */
async function movesFrom(tx: Db, nodeId: string): Promise<number> {
  const [row] = await tx
    .select({ n: count() })
    .from(operations)
    .innerJoin(tenants, eq(tenants.id, operations.subjectId))
    .where(and(eq(operations.kind, "tenant-move"), inArray(operations.state, [...OPEN]), eq(tenants.nodeId, nodeId)));
  return row?.n ?? 0;
}

/** Tenants that are still there after a move that failed since. */
async function failedMoves(tx: Db, nodeId: string, since: Date): Promise<Failed[]> {
  return await tx
    .selectDistinctOn([operations.subjectId], { tenantId: operations.subjectId, reason: operations.reason })
    .from(operations)
    .innerJoin(tenants, eq(tenants.id, operations.subjectId))
    .where(and(movable(nodeId), failedSince(since)))
    .orderBy(operations.subjectId, asc(operations.seq));
}

const failedSince = (since: Date) =>
  and(eq(operations.kind, "tenant-move"), eq(operations.state, "failed"), gte(operations.createdAt, since));

/** Tenants with nothing under way whose move has not failed since, locked. */
async function nextTenants(tx: Db, nodeId: string, since: Date, limit: number): Promise<string[]> {
  if (limit <= 0) return [];
  const busy = tx
    .select({ one: sql`1` })
    .from(operations)
    .where(and(eq(operations.subjectId, tenants.id), or(inArray(operations.state, [...OPEN]), failedSince(since))));
  const rows = await tx
    .select({ id: tenants.id })
    .from(tenants)
    .where(and(movable(nodeId), sql`not exists ${busy}`))
    .orderBy(asc(tenants.id))
    .limit(limit)
    .for("no key update", { skipLocked: true });
  return rows.map(({ id }) => id);
}
