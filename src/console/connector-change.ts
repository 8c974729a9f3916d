import { and, count, countDistinct, eq, inArray, isNotNull, isNull, max, sql } from "drizzle-orm";
import { z } from "@hono/zod-openapi";
import type { Db } from "../db/client.ts";
import { enqueueOperation } from "../db/operations.ts";
import type { Enqueued, OperationKind } from "../db/operations.ts";
import { clusters, connectorKeys, connectors, connectorSecrets, connectorSessions, tenants } from "../db/schema.ts";
import { tenantName } from "../db/tenants.ts";
import { ok } from "../shared/result.ts";
import { etagOf } from "./endpoint.ts";
import { operationLocation, shownOperation } from "./operation-view.ts";
import { connectorView, operationView, viewConnector, type ConnectorFacts } from "./views.ts";

type ConnectorRow = typeof connectors.$inferSelect;

export const connectorParams = z.object({ connector: z.string() });
export const connectorStarted = z
  .object({ operation: operationView, connector: connectorView })
  .openapi("ConnectorOperation");

/** By id; not one that is on its way out. */
export async function findConnector(db: Db, id: string): Promise<{ connector: ConnectorRow; tenant: string } | null> {
  const [row] = await db
    .select({ connector: connectors, tenant: tenants, cluster: clusters })
    .from(connectors)
    .innerJoin(tenants, eq(tenants.id, connectors.tenantId))
    .innerJoin(clusters, eq(clusters.id, tenants.clusterId))
    .where(and(eq(connectors.id, id), isNull(connectors.deletedAt)));
  return row === undefined ? null : { connector: row.connector, tenant: tenantName(row.tenant.slug, row.cluster) };
}

/** What of these connectors is in other tables, by id. */
export async function factsOf(db: Db, ids: readonly string[]): Promise<(id: string) => ConnectorFacts> {
  if (ids.length === 0) return () => NO_FACTS;
  const list = [...ids];
  const keys = await db
    .select({ id: connectorKeys.connectorId, n: count() })
    .from(connectorKeys)
    .where(inArray(connectorKeys.connectorId, list))
    .groupBy(connectorKeys.connectorId);
  const secrets = await db
    .select({ id: connectorSecrets.connectorId, n: count() })
    .from(connectorSecrets)
    .where(inArray(connectorSecrets.connectorId, list))
    .groupBy(connectorSecrets.connectorId);
  const live = sql`case when ${connectorSessions.offlineAt} is null then ${connectorSessions.instanceId} end`;
  const sessions = await db
    .select({
      id: connectorSessions.connectorId,
      instances: countDistinct(live),
      last: max(connectorSessions.onlineAt),
    })
    .from(connectorSessions)
    .where(and(inArray(connectorSessions.connectorId, list), isNotNull(connectorSessions.onlineAt)))
    .groupBy(connectorSessions.connectorId);
  return (id) => {
    const session = sessions.find((one) => one.id === id);
    return {
      keys: keys.find((one) => one.id === id)?.n ?? 0,
      secrets: secrets.find((one) => one.id === id)?.n ?? 0,
      instances: session?.instances ?? 0,
      lastLoginAt: session?.last ?? null,
    };
  };
}

const NO_FACTS: ConnectorFacts = { keys: 0, secrets: 0, instances: 0, lastLoginAt: null };

export async function showConnector(db: Db, row: ConnectorRow, tenant: string) {
  return viewConnector(row, tenant, (await factsOf(db, [row.id]))(row.id));
}

/** Raises the connector's revision (which locks its row) and enqueues what tells both lanes. */
export async function republish(
  tx: Db,
  id: string,
  kind: OperationKind,
  set: Partial<typeof connectors.$inferInsert>,
  now: Date,
) {
  const [row] = await tx
    .update(connectors)
    .set({ ...set, revision: sql`nextval('control.revision')`, updatedAt: now })
    .where(eq(connectors.id, id))
    .returning();
  if (row === undefined) throw new Error("a connector just read is not there");
  const operation = await enqueueOperation(tx, { kind, subjectId: id, tenantId: row.tenantId, now });
  return { row, operation };
}

export async function accepted(
  tx: Db,
  { row, operation }: { row: typeof connectors.$inferSelect; operation: Enqueued },
  tenant: string,
  audit: { action: string; details: Record<string, unknown> },
  /** More of the answer, for example a secret that is shown once. */
  shown: Record<string, unknown> = {},
) {
  return ok({
    body: { operation: await shownOperation(tx, operation), connector: await showConnector(tx, row, tenant), ...shown },
    headers: { location: operationLocation(operation), etag: etagOf(row.revision) },
    audit: { subjectId: row.id, tenantId: row.tenantId, ...audit },
    operation,
  });
}
