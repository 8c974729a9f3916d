import { z } from "@hono/zod-openapi";
import { and, asc, count, desc, eq, isNull, sql } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { enqueueOperation } from "../../db/operations.ts";
import type { Enqueued, OperationKind } from "../../db/operations.ts";
import { clusters, connectorKeys, connectors, connectorSessions, tenants } from "../../db/schema.ts";
import { findTenant, tenantName } from "../../db/tenants.ts";
import { publicJwk } from "../../protocol/jwk.ts";
import { newId } from "../../shared/ids.ts";
import { ok } from "../../shared/result.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { MAX_KEYS_PER_CONNECTOR, MAX_TARGETS_PER_CONNECTOR } from "../limits.ts";
import { connectorName, target } from "../names.ts";
import { operationLocation, shownOperation } from "../operation-view.ts";
import { page, paged, pageQuery } from "../paging.ts";
import type { ConsoleApp } from "../respond.ts";
import { connectorView, keyView, operationView, sessionView, viewConnector } from "../views.ts";

const tag = "connectors";
const params = z.object({ connector: z.string() });
const targets = z.array(target).max(MAX_TARGETS_PER_CONNECTOR).nullable();
const started = z.object({ operation: operationView, connector: connectorView }).openapi("ConnectorOperation");

const newConnector = z
  .strictObject({
    tenant: z.string().openapi({ description: "slug or slug@cluster" }),
    name: connectorName,
    key: publicJwk.openapi({
      description: "Public half of a key pair that the client made; the private one stays there",
    }),
    targets: targets.default(null),
  })
  .openapi("NewConnector");

const change = z
  .strictObject({ disabled: z.boolean().optional(), targets: targets.optional() })
  .openapi("ConnectorChange");

async function findConnector(db: Db, id: string) {
  const [row] = await db
    .select({ connector: connectors, tenant: tenants, cluster: clusters })
    .from(connectors)
    .innerJoin(tenants, eq(tenants.id, connectors.tenantId))
    .innerJoin(clusters, eq(clusters.id, tenants.clusterId))
    .where(and(eq(connectors.id, id), isNull(connectors.deletedAt)));
  return row === undefined ? null : { connector: row.connector, tenant: tenantName(row.tenant.slug, row.cluster) };
}

/** Raises the connector's revision (which locks its row) and enqueues what tells both lanes. */
async function republish(
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

async function accepted(
  tx: Db,
  { row, operation }: { row: typeof connectors.$inferSelect; operation: Enqueued },
  tenant: string,
  audit: { action: string; details: Record<string, unknown> },
) {
  return ok({
    body: { operation: await shownOperation(tx, operation), connector: viewConnector(row, tenant) },
    headers: { location: operationLocation(operation), etag: etagOf(row.revision) },
    audit: { subjectId: row.id, tenantId: row.tenantId, ...audit },
    operation,
  });
}

export function connectorRoutes(app: ConsoleApp): void {
  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/connectors",
      tag,
      summary: "List connectors",
      scope: "read",
      status: 200,
      query: pageQuery.extend({
        tenant: z.string().optional(),
        state: connectorView.shape.state.optional(),
      }),
      answer: page(connectorView),
    },
    async (db, { query }) => {
      const [afterName = "", afterId = ""] = query.cursor ?? [];
      const only = query.tenant === undefined ? undefined : await findTenant(db, query.tenant);
      if (only === null) return notFound("tenant", query.tenant ?? "");
      const rows = await db
        .select({ connector: connectors, tenant: tenants, cluster: clusters })
        .from(connectors)
        .innerJoin(tenants, eq(tenants.id, connectors.tenantId))
        .innerJoin(clusters, eq(clusters.id, tenants.clusterId))
        .where(
          and(
            isNull(connectors.deletedAt),
            only === undefined ? undefined : eq(connectors.tenantId, only.tenant.id),
            query.state === undefined ? undefined : eq(connectors.state, query.state),
            query.q === undefined ? undefined : sql`strpos(${connectors.name}, ${query.q}) > 0`,
            query.cursor === undefined
              ? undefined
              : sql`(${connectors.name}, ${connectors.id}) > (${afterName}, ${afterId})`,
          ),
        )
        .orderBy(asc(connectors.name), asc(connectors.id))
        .limit(query.limit + 1);
      const view = ({ connector, tenant, cluster }: (typeof rows)[number]) =>
        viewConnector(connector, tenantName(tenant.slug, cluster));
      return ok({ body: paged(rows, query.limit, view, ({ connector }) => [connector.name, connector.id]) });
    },
  );

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/connectors/{connector}",
      tag,
      summary: "Show a connector",
      scope: "read",
      status: 200,
      params,
      answer: connectorView,
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findConnector(db, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const { connector, tenant } = found;
      return ok({ body: viewConnector(connector, tenant), headers: { etag: etagOf(connector.revision) } });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/connectors",
      tag,
      summary: "Register a connector",
      scope: "write",
      status: 202,
      body: newConnector,
      answer: started,
      refusals: ["not-found", "conflict"],
    },
    async (tx, { body, now }) => {
      const found = await findTenant(tx, body.tenant);
      if (found === null) return notFound("tenant", body.tenant);
      if (found.tenant.state === "deleting") return fail("conflict", "The tenant is being deleted.");
      const id = newId("con");
      const { name, targets, key } = body;
      const [row] = await tx
        .insert(connectors)
        .values({
          id,
          tenantId: found.tenant.id,
          name,
          targets,
          createdAt: now,
          updatedAt: now,
        })
        .returning();
      if (row === undefined) throw new Error("no row came back");
      await tx
        .insert(connectorKeys)
        .values({ id: newId("key"), connectorId: id, kid: key.kid, publicKey: key, createdAt: now });
      const operation = await enqueueOperation(tx, {
        kind: "connector-publish",
        subjectId: id,
        tenantId: row.tenantId,
        now,
      });
      const tenant = tenantName(found.tenant.slug, found.cluster);
      return accepted(tx, { row, operation }, tenant, { action: "connector.create", details: { name, kid: key.kid } });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "patch",
      path: "/connectors/{connector}",
      tag,
      scope: "write",
      status: 202,
      summary: "Disable or enable a connector, or change what it may announce; disabling ends its sockets at once",
      params,
      body: change,
      answer: started,
      refusals: ["not-found", "precondition-failed"],
    },
    async (tx, { params, body, now }, ifMatch) => {
      const found = await findConnector(tx, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const matched = ifMatch(etagOf(found.connector.revision));
      if (!matched.ok) return matched;
      const set = {
        ...(body.disabled !== undefined && { disabled: body.disabled }),
        ...(body.targets !== undefined && { targets: body.targets }),
      };
      const changed = await republish(tx, found.connector.id, "connector-publish", set, now);
      return accepted(tx, changed, found.tenant, { action: "connector.change", details: set });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "delete",
      path: "/connectors/{connector}",
      tag,
      scope: "write",
      status: 202,
      summary: "Remove a connector that is offline",
      params,
      answer: started,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    async (tx, { params, now }, ifMatch) => {
      const found = await findConnector(tx, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const matched = ifMatch(etagOf(found.connector.revision));
      if (!matched.ok) return matched;
      if (found.connector.state === "online")
        return fail("conflict", "The connector is online. Stop or disable it first, then remove it.");
      const changed = await republish(tx, found.connector.id, "connector-remove", { deletedAt: now }, now);
      return accepted(tx, changed, found.tenant, {
        action: "connector.delete",
        details: { name: found.connector.name },
      });
    },
  );

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/connectors/{connector}/keys",
      tag,
      summary: "List its keys",
      scope: "read",
      status: 200,
      params,
      answer: z.object({ items: z.array(keyView) }),
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findConnector(db, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const rows = await db
        .select()
        .from(connectorKeys)
        .where(eq(connectorKeys.connectorId, found.connector.id))
        .orderBy(asc(connectorKeys.createdAt), asc(connectorKeys.id));
      const items = rows.map((row) => ({ kid: row.kid, key: row.publicKey, createdAt: row.createdAt.toISOString() }));
      return ok({ body: { items } });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/connectors/{connector}/keys",
      tag,
      scope: "write",
      status: 202,
      summary: "Add a key; the others stay valid until they are removed",
      params,
      body: z.strictObject({ key: publicJwk }),
      answer: started,
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, body, now }) => {
      const found = await findConnector(tx, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const connectorId = found.connector.id;
      const { kid } = body.key;
      const changed = await republish(tx, connectorId, "connector-publish", {}, now);
      await tx
        .insert(connectorKeys)
        .values({ id: newId("key"), connectorId, kid, publicKey: body.key, createdAt: now });
      const [held] = await tx
        .select({ n: count() })
        .from(connectorKeys)
        .where(eq(connectorKeys.connectorId, connectorId));
      if ((held?.n ?? 0) > MAX_KEYS_PER_CONNECTOR)
        return fail("conflict", `A connector has at most ${MAX_KEYS_PER_CONNECTOR} keys. Remove one first.`);
      return accepted(tx, changed, found.tenant, { action: "connector.key-add", details: { kid } });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "delete",
      path: "/connectors/{connector}/keys/{kid}",
      tag,
      scope: "write",
      status: 202,
      summary: "Remove a key: nobody connects with it any more",
      params: params.extend({ kid: z.string() }),
      answer: started,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    async (tx, { params, now }, ifMatch) => {
      const found = await findConnector(tx, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const matched = ifMatch(etagOf(found.connector.revision));
      if (!matched.ok) return matched;
      const changed = await republish(tx, found.connector.id, "connector-publish", {}, now);
      const [removed] = await tx
        .delete(connectorKeys)
        .where(and(eq(connectorKeys.connectorId, found.connector.id), eq(connectorKeys.kid, params.kid)))
        .returning({ kid: connectorKeys.kid });
      if (removed === undefined) return notFound("key", params.kid);
      return accepted(tx, changed, found.tenant, { action: "connector.key-remove", details: removed });
    },
  );

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/connectors/{connector}/sessions",
      tag,
      scope: "read",
      status: 200,
      summary: "List its sockets, the newest first",
      params,
      query: pageQuery.pick({ limit: true }),
      answer: z.object({ items: z.array(sessionView) }),
      refusals: ["not-found"],
    },
    async (db, { params, query }) => {
      const found = await findConnector(db, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const rows = await db
        .select()
        .from(connectorSessions)
        .where(eq(connectorSessions.connectorId, found.connector.id))
        .orderBy(sql`${connectorSessions.onlineAt} desc nulls last`, desc(connectorSessions.id))
        .limit(query.limit);
      const items = rows.map(({ id, instanceId, lane, onlineAt, offlineAt, reason }) => ({
        id,
        instanceId,
        lane,
        reason,
        onlineAt: onlineAt?.toISOString() ?? null,
        offlineAt: offlineAt?.toISOString() ?? null,
      }));
      return ok({ body: { items } });
    },
  );
}
