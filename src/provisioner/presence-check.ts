import { and, asc, eq, inArray, isNull, lt, or, sql } from "drizzle-orm";
import type { AnyPgColumn } from "drizzle-orm/pg-core";
import { connectors, connectorSessions, nodes } from "../db/schema.ts";
import type { ConnectorSession } from "../protocol/lane.ts";
import { PRESENCE_CHECK_MS, PRESENCE_CHECKS, PRESENCE_GRACE_MS } from "./limits.ts";
import type { ProvisionerPorts } from "./ports.ts";
import { recomputeState } from "./presence.ts";

/**
 * A lane or channel that was killed can't tell that its sockets are gone. So whoever is shown as online is asked for now and then, the ones
 * whose last check is the longest ago first. What can't be reached stays as it is.
 */
export async function checkConnectors(ports: ProvisionerPorts): Promise<void> {
  const nowMs = ports.clock();
  const due = await ports.db
    .select({ id: connectors.id, tenantId: connectors.tenantId })
    .from(connectors)
    .where(and(eq(connectors.state, "online"), isDue(connectors.checkedAt, nowMs)))
    .orderBy(sql`${connectors.checkedAt} asc nulls first`)
    .limit(PRESENCE_CHECKS);
  for (const tenantId of new Set(due.map((connector) => connector.tenantId))) {
    const live = await liveSessions(ports, tenantId);
    if (live === null) continue;
    for (const { id } of due.filter((connector) => connector.tenantId === tenantId))
      await closeLost(ports, id, live, nowMs);
  }
}

const isDue = (checkedAt: AnyPgColumn, nowMs: number) =>
  or(isNull(checkedAt), lt(checkedAt, new Date(nowMs - PRESENCE_CHECK_MS)));

/** Sockets at both lanes; null when a lane does not answer, so that nothing is concluded from silence. */
async function liveSessions(ports: ProvisionerPorts, tenantId: string): Promise<ConnectorSession[] | null> {
  try {
    return (await Promise.all(ports.lanes(tenantId).map((lane) => lane.sessions()))).flat();
  } catch {
    ports.log.warn("a lane did not answer the presence check", { tenantId });
    return null;
  }
}

async function closeLost(
  ports: ProvisionerPorts,
  connectorId: string,
  live: readonly ConnectorSession[],
  nowMs: number,
): Promise<void> {
  await ports.db.transaction(async (tx) => {
    await tx
      .update(connectors)
      .set({ checkedAt: new Date(nowMs) })
      .where(eq(connectors.id, connectorId));
    const open = await tx
      .select()
      .from(connectorSessions)
      .where(
        and(
          eq(connectorSessions.connectorId, connectorId),
          isNull(connectorSessions.offlineAt),
          lt(connectorSessions.onlineAt, new Date(nowMs - PRESENCE_GRACE_MS)),
        ),
      );
    const lost = open.filter(
      ({ instanceId, lane }) =>
        !live.some((one) => one.connectorId === connectorId && one.instanceId === instanceId && one.lane === lane),
    );
    if (lost.length === 0) return;
    await tx
      .update(connectorSessions)
      .set({ offlineAt: new Date(nowMs), reason: "lost" })
      .where(
        inArray(
          connectorSessions.id,
          lost.map(({ id }) => id),
        ),
      );
    await recomputeState(tx, connectorId, null);
  });
}

export async function checkNodes(ports: ProvisionerPorts): Promise<void> {
  const nowMs = ports.clock();
  const due = await ports.db
    .select({ id: nodes.id, presenceAt: nodes.presenceAt })
    .from(nodes)
    .where(and(eq(nodes.online, true), isDue(nodes.checkedAt, nowMs)))
    .orderBy(sql`${nodes.checkedAt} asc nulls first`, asc(nodes.id))
    .limit(PRESENCE_CHECKS);
  for (const { id, presenceAt } of due) {
    let online: boolean;
    try {
      ({ online } = await ports.nodeChannel(id).presence());
    } catch {
      ports.log.warn("a node channel did not answer the presence check", { nodeId: id });
      continue;
    }
    // Unless an event came meanwhile: it knows better.
    const unchanged = presenceAt === null ? isNull(nodes.presenceAt) : eq(nodes.presenceAt, presenceAt);
    await ports.db
      .update(nodes)
      .set({ online, checkedAt: new Date(nowMs) })
      .where(and(eq(nodes.id, id), unchanged));
  }
}
