import { and, isNotNull, lt } from "drizzle-orm";
import { connectorSessions, idempotencyKeys, outbox } from "../db/schema.ts";
import { OUTBOX_RETENTION_MS, SESSION_RETENTION_MS } from "./limits.ts";
import { checkDueClaims } from "./check-claim.ts";
import { checkDueFronts, repairLeavingHosts } from "./front-checks.ts";
import { checkJobWorkers } from "./job-checks.ts";
import { refreshDueIssuers } from "./issuer-keys.ts";
import type { ProvisionerPorts } from "./ports.ts";
import { checkConnectors, checkNodes } from "./presence-check.ts";
import { remind } from "./remind.ts";

/**
 * What keeps lost messages from mattering: sends them again (remind.ts). Then it checks who is still online, and clears away what is old.
 * Returns how many messages it sent.
 */
export async function sweep(ports: ProvisionerPorts): Promise<number> {
  const { db } = ports;
  const nowMs = ports.clock();
  const sent = await remind(ports);
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
  return sent;
}
