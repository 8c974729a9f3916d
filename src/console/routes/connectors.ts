import { z } from "@hono/zod-openapi";
import { and, asc, count, desc, eq, isNull, sql } from "drizzle-orm";
import { clusters, connectorKeys, connectors, connectorSessions, tenants } from "../../db/schema.ts";
import { findTenant, tenantName } from "../../db/tenants.ts";
import { publicJwk } from "../../protocol/jwk.ts";
import { newId } from "../../shared/ids.ts";
import { ok } from "../../shared/result.ts";
import {
  accepted,
  connectorParams,
  connectorStarted,
  factsOf,
  findConnector,
  republish,
  showConnector,
} from "../connector-change.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { MAX_KEYS_PER_CONNECTOR, MAX_TARGETS_PER_CONNECTOR } from "../limits.ts";
import { connectorName, target } from "../names.ts";
import { insertConnector } from "../new-connector.ts";
import { moment, newSecretBody, shownSecret } from "../new-secret.ts";
import { page, paged, pageQuery } from "../paging.ts";
import type { ConsoleApp } from "../respond.ts";
import { connectorView, keyView, sessionView, viewConnector } from "../views.ts";

const tag = "connectors";
const targets = z.array(target).max(MAX_TARGETS_PER_CONNECTOR).nullable();

const rights = {
  issuerSubject: z.string().min(1).max(255).nullable().optional(),
  readOnly: z.boolean().optional(),
  expiresAt: moment.nullable().optional(),
};

const newConnector = z
  .strictObject({
    tenant: z.string().openapi({ description: "slug or slug@cluster" }),
    name: connectorName,
    key: publicJwk
      .openapi({
        description: "Public half of a key pair that the client made; the private one stays there",
      })
      .optional(),
    secret: newSecretBody
      .optional()
      .openapi({ description: "Make a client secret, too or instead; it is in the answer, once" }),
    targets: targets.default(null),
    ...rights,
  })
  .openapi("NewConnector");

const change = z
  .strictObject({ disabled: z.boolean().optional(), targets: targets.optional(), ...rights })
  .openapi("ConnectorChange");

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
      const facts = await factsOf(
        db,
        rows.map(({ connector }) => connector.id),
      );
      const view = ({ connector, tenant, cluster }: (typeof rows)[number]) =>
        viewConnector(connector, tenantName(tenant.slug, cluster), facts(connector.id));
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
      params: connectorParams,
      answer: connectorView,
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findConnector(db, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const { connector, tenant } = found;
      return ok({ body: await showConnector(db, connector, tenant), headers: { etag: etagOf(connector.revision) } });
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
      answer: connectorStarted.extend({ secret: shownSecret.optional() }),
      refusals: ["not-found", "conflict"],
    },
    async (tx, { body, now }) => {
      const found = await findTenant(tx, body.tenant);
      if (found === null) return notFound("tenant", body.tenant);
      if (found.tenant.state === "deleting") return fail("conflict", "The tenant is being deleted.");
      const { name, targets, key, secret, issuerSubject, readOnly, expiresAt } = body;
      if (key === undefined && secret === undefined && (issuerSubject ?? null) === null)
        return fail("bad-request", "A connector needs a way to prove itself: key, secret or issuerSubject.");
      const made = await insertConnector(
        tx,
        {
          tenantId: found.tenant.id,
          name,
          targets,
          key,
          secret,
          ...(issuerSubject !== undefined && { issuerSubject }),
          ...(readOnly !== undefined && { readOnly }),
          ...(expiresAt !== undefined && { expiresAt: dateOrNull(expiresAt) }),
        },
        now,
      );
      const tenant = tenantName(found.tenant.slug, found.cluster);
      const details = {
        name,
        ...(key !== undefined && { kid: key.kid }),
        ...(made.secret !== null && { secret: made.secret.id }),
      };
      const shown = made.secret === null ? {} : { secret: made.secret };
      return accepted(tx, made, tenant, { action: "connector.create", details }, shown);
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
      params: connectorParams,
      body: change,
      answer: connectorStarted,
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
        ...(body.issuerSubject !== undefined && { issuerSubject: body.issuerSubject }),
        ...(body.readOnly !== undefined && { readOnly: body.readOnly }),
        ...(body.expiresAt !== undefined && { expiresAt: dateOrNull(body.expiresAt) }),
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
      summary: "Remove a connector that is offline, or with force one that is online: its sockets end",
      params: connectorParams,
      query: z.object({ force: z.enum(["true", "false"]).default("false") }),
      answer: connectorStarted,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    async (tx, { params, query, now }, ifMatch) => {
      const found = await findConnector(tx, params.connector);
      if (found === null) return notFound("connector", params.connector);
      const matched = ifMatch(etagOf(found.connector.revision));
      if (!matched.ok) return matched;
      if (found.connector.state === "online" && query.force !== "true")
        return fail("conflict", "The connector is online. Stop or disable it first, or remove it with force=true.");
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
      params: connectorParams,
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
      params: connectorParams,
      body: z.strictObject({ key: publicJwk }),
      answer: connectorStarted,
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
      params: connectorParams.extend({ kid: z.string() }),
      answer: connectorStarted,
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
      params: connectorParams,
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

const dateOrNull = (text: string | null): Date | null => (text === null ? null : new Date(text));
