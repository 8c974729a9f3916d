import { and, asc, inArray, isNotNull, isNull, lt } from "drizzle-orm";
import { markSent } from "../db/operations.ts";
import { connectorSessions, idempotencyKeys, operations, outbox } from "../db/schema.ts";
import { OUTBOX_RETENTION_MS, SESSION_RETENTION_MS, SWEEP_BATCH, SWEEP_GRACE_MS } from "./limits.ts";
import { checkDueClaims } from "./check-claim.ts";
import { checkDueFronts, repairLeavingHosts } from "./front-checks.ts";
import { checkJobWorkers } from "./job-checks.ts";
import { refreshDueIssuers } from "./issuer-keys.ts";
import type { ProvisionerPorts } from "./ports.ts";
import { checkConnectors, checkNodes } from "./presence-check.ts";

/**
 * What keeps lost messages from mattering: sends what the outbox still holds, and reminds of operations that are due (a message that never
 * came, a run that died with its lease). One message too many is harmless. Then it checks who is still online, and clears away what is old.
 * Returns how many messages it sent.
 */
export async function sweep(ports: ProvisionerPorts): Promise<number> {
  const { db } = ports;
  const nowMs = ports.clock();
  const overdue = new Date(nowMs - SWEEP_GRACE_MS);
  const sent = new Set<string>();

  const unsent = await db
    .select()
    .from(outbox)
    .where(and(isNull(outbox.sentAt), lt(outbox.createdAt, overdue)))
    .orderBy(asc(outbox.createdAt))
    .limit(SWEEP_BATCH);
  for (const row of unsent) {
    await ports.send({ kind: "operation", operationId: row.operationId }, 0);
    await markSent(db, row.id, new Date(nowMs));
    sent.add(row.operationId);
  }

  const due = await db
    .select({ id: operations.id, leaseUntil: operations.leaseUntil })
    .from(operations)
    .where(
      and(
        inArray(operations.state, ["pending", "running"]),
        lt(operations.nextAttemptAt, overdue),
        lt(operations.createdAt, overdue),
      ),
    )
    .orderBy(asc(operations.nextAttemptAt))
    .limit(SWEEP_BATCH);
  for (const { id, leaseUntil } of due) {
    if (sent.has(id)) continue;
    // Its run may be dead: the message comes when the lease is over, and finds nothing to do if it was not.
    const leasedMs = Math.max(0, (leaseUntil?.getTime() ?? 0) - nowMs);
    const delaySeconds = leasedMs === 0 ? 0 : Math.ceil(leasedMs / 1000) + 1;
    await ports.send({ kind: "operation", operationId: id }, delaySeconds);
    sent.add(id);
  }

  await checkConnectors(ports);
  await checkNodes(ports);
  await refreshDueIssuers(ports);
  await repairLeavingHosts(ports);
  await checkDueClaims(ports);
  await checkDueFronts(ports);
  await checkJobWorkers(ports);

  await db
    .delete(outbox)
    .where(and(isNotNull(outbox.sentAt), lt(outbox.createdAt, new Date(nowMs - OUTBOX_RETENTION_MS))));
  await db.delete(idempotencyKeys).where(lt(idempotencyKeys.expiresAt, new Date(nowMs)));
  await db.delete(connectorSessions).where(lt(connectorSessions.offlineAt, new Date(nowMs - SESSION_RETENTION_MS)));
  return sent.size;
}
