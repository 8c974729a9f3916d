import { and, eq, sql } from "drizzle-orm";
import type { Db } from "./client.ts";
import { enqueueOperation } from "./operations.ts";
import type { Enqueued, OperationRow, StepName } from "./operations.ts";
import { operationSteps, tenants } from "./schema.ts";

/**
 * What a move that failed or was cancelled leaves is cleared away by an operation of its own: the tenant stays with, or goes back to, the node
 * that served it, and the other one lets it go. Call it in the transaction that ends the move. Null: there is nothing to clear away, or visitors
 * are sent to the new node already, and the move can only be carried on.
 */
export async function undoMove(tx: Db, move: OperationRow, now: Date): Promise<Enqueued | null> {
  const [tenant] = await tx.select().from(tenants).where(eq(tenants.id, move.subjectId)).for("no key update");
  if (tenant === undefined || tenant.state === "deleting") return null;
  const { nodeId, nextNodeId, leavingNodeId } = tenant;
  const steps = await tx
    .select()
    .from(operationSteps)
    .where(and(eq(operationSteps.operationId, move.id), eq(operationSteps.state, "done")));
  const done = new Set(steps.map(({ name }) => name));
  // A revision of its own: what a slow run of the move still pushes or publishes is older.
  const begin = async (set: Partial<typeof tenant>, plan?: readonly StepName[]): Promise<Enqueued> => {
    await tx
      .update(tenants)
      .set({ ...set, revision: sql`nextval('control.revision')`, updatedAt: now })
      .where(eq(tenants.id, tenant.id));
    const work = { drainMs: move.work !== null && "drainMs" in move.work ? move.work.drainMs : 0 };
    const subject = { subjectId: tenant.id, tenantId: tenant.id };
    return await enqueueOperation(tx, { kind: "tenant-move-undo", ...subject, now, work, steps: plan });
  };
  if (nextNodeId !== null) return await begin({ nextNodeId: null, leavingNodeId: nextNodeId }, ["leave-node"]);
  // Before its own choice a node that is left is one of an earlier move.
  const hasSwitched = done.has("choose-next-node") && leavingNodeId !== null;
  if (!hasSwitched || done.has("publish")) return null;
  return await begin({ nodeId: leavingNodeId, leavingNodeId: nodeId });
}
