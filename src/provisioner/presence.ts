import { and, eq, isNull, lt, ne, or, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { connectors, connectorSecrets, connectorSessions, nodes } from "../db/schema.ts";
import type { RelayEvent } from "../protocol/queue-messages.ts";

/**
 * Takes in what the relay saw. Events come at least once, late and in any order: a session that has ended stays ended, an older event never
 * undoes a newer one, and what is unknown (deleted meanwhile) is dropped.
 */
export async function applyEvent(db: Db, event: RelayEvent): Promise<void> {
  switch (event.kind) {
    case "connector-online":
    case "connector-offline":
      return db.transaction((tx) => connectorEvent(tx, event));
    case "node-online":
    case "node-offline":
    case "node-enrolled":
      return nodeEvent(db, event);
  }
}

type ConnectorEvent = Extract<RelayEvent, { kind: "connector-online" | "connector-offline" }>;
type NodeEvent = Exclude<RelayEvent, ConnectorEvent>;

async function connectorEvent(tx: Db, event: ConnectorEvent): Promise<void> {
  const { connectorId, instanceId, lane, sessionId, reason } = event;
  const at = new Date(event.atMs);
  // Its lock puts the events of one connector in a row, so that the state computed below is of all of them.
  const [connector] = await tx
    .select({ id: connectors.id })
    .from(connectors)
    .where(and(eq(connectors.id, connectorId), eq(connectors.tenantId, event.tenantId)))
    .for("no key update");
  if (connector === undefined) return;
  const seen = event.kind === "connector-online" ? { onlineAt: at } : { offlineAt: at, reason };
  await tx
    .insert(connectorSessions)
    .values({ id: sessionId, connectorId, instanceId, lane, ...seen })
    .onConflictDoUpdate({ target: connectorSessions.id, set: seen });
  // One instance has one socket a lane: a newer one shows that older ones are gone, also if nobody lived to say so.
  const ofInstance = and(
    eq(connectorSessions.connectorId, connectorId),
    eq(connectorSessions.instanceId, instanceId),
    eq(connectorSessions.lane, lane),
  );
  if (event.kind === "connector-online")
    await tx
      .update(connectorSessions)
      .set({ offlineAt: at, reason: "replaced" })
      .where(
        and(
          ofInstance,
          isNull(connectorSessions.offlineAt),
          ne(connectorSessions.id, sessionId),
          lt(connectorSessions.onlineAt, at),
        ),
      );
  const newer = sql`exists (select 1 from ${connectorSessions} newer where newer.connector_id = ${connectorId}
    and newer.instance_id = ${instanceId} and newer.lane = ${lane} and newer.id <> ${sessionId} and newer.online_at > ${at.toISOString()})`;
  if (event.kind === "connector-online")
    await tx
      .update(connectorSessions)
      .set({ offlineAt: sql`${connectorSessions.onlineAt}`, reason: "replaced" })
      .where(and(eq(connectorSessions.id, sessionId), isNull(connectorSessions.offlineAt), newer));
  if (event.kind === "connector-online" && (event.secretId ?? null) !== null)
    await tx
      .update(connectorSecrets)
      .set({ lastUsedAt: sql`greatest(${connectorSecrets.lastUsedAt}, ${at.toISOString()}::timestamptz)` })
      .where(and(eq(connectorSecrets.id, event.secretId ?? ""), eq(connectorSecrets.connectorId, connectorId)));
  await recomputeState(tx, connectorId, at);
}

/** The connector's state by its sessions. Its row is locked. `seenAt`: the moment of the evidence. */
export async function recomputeState(tx: Db, connectorId: string, seenAt: Date | null): Promise<void> {
  const open = sql`exists (select 1 from ${connectorSessions} live where live.connector_id = ${connectorId}
    and live.online_at is not null and live.offline_at is null)`;
  const at = seenAt?.toISOString() ?? null;
  await tx
    .update(connectors)
    .set({
      state: sql`case when ${open} then 'online' else 'offline' end`,
      lastSeenAt: sql`greatest(${connectors.lastSeenAt}, ${at}::timestamptz)`,
    })
    .where(eq(connectors.id, connectorId));
}

async function nodeEvent(db: Db, { kind, nodeId, atMs }: NodeEvent): Promise<void> {
  const at = new Date(atMs);
  const lastSeenAt = sql`greatest(${nodes.lastSeenAt}, ${at.toISOString()}::timestamptz)`;
  if (kind === "node-enrolled") {
    await db
      .update(nodes)
      .set({ enrolledAt: sql`greatest(${nodes.enrolledAt}, ${at.toISOString()}::timestamptz)`, lastSeenAt })
      .where(eq(nodes.id, nodeId));
    // The token that was used is closed; a newer one that was opened meanwhile stays.
    await db
      .update(nodes)
      .set({ enrolmentHash: null, enrolmentOpenedAt: null, enrolmentExpiresAt: null })
      .where(and(eq(nodes.id, nodeId), lt(nodes.enrolmentOpenedAt, at)));
    return;
  }
  await db
    .update(nodes)
    .set({ online: kind === "node-online", presenceAt: at, lastSeenAt })
    .where(and(eq(nodes.id, nodeId), or(isNull(nodes.presenceAt), lt(nodes.presenceAt, at))));
}
