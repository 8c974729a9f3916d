import { z } from "@hono/zod-openapi";
import { and, asc, eq, gt, sql } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { enqueueOperation } from "../../db/operations.ts";
import { clusters, NODE_ROLES, nodes, tenants } from "../../db/schema.ts";
import { newSecret, sha256Hex } from "../../db/secrets.ts";
import { newId } from "../../shared/ids.ts";
import { ok } from "../../shared/result.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { ENROLMENT_LIFETIME_MS } from "../limits.ts";
import { label } from "../names.ts";
import { operationLocation, shownOperation } from "../operation-view.ts";
import { page, paged, pageQuery } from "../paging.ts";
import type { ConsoleApp } from "../respond.ts";
import { nodeView, operationView, viewNode } from "../views.ts";

/** http only where nothing can listen in. */
const envoyUrl = z
  .url({ protocol: /^https?$/, abort: true })
  .refine((text) => ["/", ""].includes(new URL(text).pathname) && new URL(text).search === "", "no path, no query")
  .refine((text) => {
    const url = new URL(text);
    return url.protocol === "https:" || ["127.0.0.1", "[::1]"].includes(url.hostname);
  }, "https, or http on a loopback address")
  .transform((text) => new URL(text).origin);

const mastersAddress = z
  .string()
  .max(259)
  .regex(/^[A-Za-z0-9.-]{1,253}:[0-9]{1,5}$/, "host:port, the host as in the node's certificate for masters")
  .refine((text) => Number(text.split(":")[1]) >= 1 && Number(text.split(":")[1]) <= 65_535, "a port from 1 to 65535");

const capacity = z.number().int().min(0).max(100_000);
const labels = z.record(z.string().max(64), z.string().max(256));

const newNode = z
  .strictObject({
    name: label,
    role: z.enum(NODE_ROLES).default("node").openapi({
      description: "`master`: a self-hosted front of the cluster (docs/node.md); it gets no tenants",
    }),
    cluster: z.string().optional().openapi({ description: "Default: the default cluster" }),
    envoyUrl: envoyUrl.openapi({ type: "string", format: "uri" }),
    mastersAddress: mastersAddress.nullable().default(null).openapi({
      description: "Where masters of the cluster reach the node; null: they send its tenants' visitors to the edge",
    }),
    capacity: capacity.default(0),
    labels: labels.default({}),
  })
  .openapi("NewNode");

const nodeChange = z
  .strictObject({
    mastersAddress: mastersAddress.nullable().optional().openapi({
      description: "Null: masters send its tenants' visitors to the edge",
    }),
    capacity: capacity.optional().openapi({ description: "Fewer than it has: they stay, and no more come" }),
    labels: labels.optional().openapi({ description: "All of them; they say where tenants go from now on" }),
  })
  .refine((body) => Object.keys(body).length > 0, "nothing to change")
  .openapi("NodeChange");

export const nodeOperation = z.object({ operation: operationView, node: nodeView }).openapi("NodeOperation");

const enrolment = z
  .object({
    operation: operationView,
    node: nodeView,
    enrolmentToken: z.string().openapi({ description: "For `causeway node enroll`; works once, shown once" }),
    enrolmentExpiresAt: z.iso.datetime(),
  })
  .openapi("NodeEnrolment");

export const nodeParams = z.object({ node: z.string() });

export async function findNode(db: Db, name: string) {
  const [row] = await db
    .select({ node: nodes, cluster: clusters.name, tenants: tenantsOn })
    .from(nodes)
    .innerJoin(clusters, eq(clusters.id, nodes.clusterId))
    .where(eq(nodes.name, name));
  return row;
}

const tenantsOn = sql<number>`(select count(*)::int from ${tenants} where ${tenants.nodeId} = ${nodes.id})`;

/** A new one-time secret and what the node's row keeps of it. */
async function openEnrolment(nodeId: string, now: Date) {
  const secret = newSecret();
  const expiresAt = new Date(now.getTime() + ENROLMENT_LIFETIME_MS);
  return {
    columns: { enrolmentHash: await sha256Hex(secret), enrolmentOpenedAt: now, enrolmentExpiresAt: expiresAt },
    shown: { enrolmentToken: `${nodeId}.${secret}`, enrolmentExpiresAt: expiresAt.toISOString() },
  };
}

export function nodeRoutes(app: ConsoleApp): void {
  const tag = "nodes";

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/nodes",
      tag,
      summary: "List nodes",
      scope: "read",
      status: 200,
      query: pageQuery,
      answer: page(nodeView),
    },
    async (db, { query }) => {
      const rows = await db
        .select({ node: nodes, cluster: clusters.name, tenants: tenantsOn })
        .from(nodes)
        .innerJoin(clusters, eq(clusters.id, nodes.clusterId))
        .where(
          and(
            query.q === undefined ? undefined : sql`strpos(${nodes.name}, ${query.q}) > 0`,
            query.cursor === undefined ? undefined : gt(nodes.name, query.cursor[0] ?? ""),
          ),
        )
        .orderBy(asc(nodes.name))
        .limit(query.limit + 1);
      const view = (row: (typeof rows)[number]) => viewNode(row.node, row.cluster, row.tenants);
      return ok({ body: paged(rows, query.limit, view, (row) => [row.node.name]) });
    },
  );

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/nodes/{node}",
      tag,
      summary: "Show a node",
      scope: "read",
      status: 200,
      params: nodeParams,
      answer: nodeView,
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const row = await findNode(db, params.node);
      if (row === undefined) return notFound("node", params.node);
      return ok({
        body: viewNode(row.node, row.cluster, row.tenants),
        headers: { etag: etagOf(row.node.revision) },
      });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/nodes",
      tag,
      summary: "Register a node",
      scope: "admin",
      status: 202,
      body: newNode,
      answer: enrolment,
      refusals: ["conflict"],
    },
    async (tx, { body, now }) => {
      const [cluster] = await tx
        .select()
        .from(clusters)
        .where(body.cluster === undefined ? eq(clusters.isDefault, true) : eq(clusters.name, body.cluster))
        .for("no key update");
      if (cluster === undefined) return fail("bad-request", `There is no cluster "${body.cluster ?? "(default)"}".`);
      // Names of nodes are reserved for them (D7), whichever came first.
      const [tenant] = await tx.select().from(tenants).where(eq(tenants.slug, body.name));
      if (tenant !== undefined)
        return fail("conflict", `A tenant is called "${body.name}"; nodes need a name of their own.`);
      const id = newId("nod");
      const { columns, shown } = await openEnrolment(id, now);
      const { name, role, envoyUrl, capacity, labels } = body;
      if (role === "master" && (capacity > 0 || body.mastersAddress !== null))
        return fail(
          "bad-request",
          "A master has no tenants and no masters in front: leave capacity and mastersAddress out.",
        );
      const [row] = await tx
        .insert(nodes)
        .values({
          id,
          clusterId: cluster.id,
          name,
          role,
          envoyUrl,
          mastersAddress: body.mastersAddress,
          capacity,
          labels,
          ...columns,
        })
        .returning();
      if (row === undefined) throw new Error("no row came back");
      const operation = await enqueueOperation(tx, { kind: "node-publish", subjectId: id, tenantId: null, now });
      return ok({
        body: {
          operation: await shownOperation(tx, operation),
          node: viewNode(row, cluster.name, 0),
          ...shown,
        },
        headers: { location: operationLocation(operation), etag: etagOf(row.revision) },
        audit: { action: "node.create", subjectId: id, tenantId: null, details: { name, cluster: cluster.name } },
        operation,
      });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "patch",
      path: "/nodes/{node}",
      tag,
      scope: "admin",
      status: 202,
      summary: "Change a node's room and labels, or where masters reach it: they are told of its tenants anew",
      params: nodeParams,
      body: nodeChange,
      answer: nodeOperation,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    async (tx, { params, body, now }, ifMatch) => {
      const found = await findNode(tx, params.node);
      if (found === undefined) return notFound("node", params.node);
      const { id, name, role, revision } = found.node;
      const matched = ifMatch(etagOf(revision));
      if (!matched.ok) return matched;
      const { mastersAddress: address, capacity: room, labels: all } = body;
      if (role === "master" && (address !== undefined || room !== undefined))
        return fail("conflict", `"${name}" is a master itself: it has labels only.`);
      const change = {
        ...(address !== undefined && { mastersAddress: address }),
        ...(room !== undefined && { capacity: room }),
        ...(all !== undefined && { labels: all }),
      };
      const [row] = await tx
        .update(nodes)
        .set({ ...change, revision: sql`nextval('control.revision')`, updatedAt: now })
        .where(eq(nodes.id, id))
        .returning();
      if (row === undefined) return notFound("node", params.node);
      // Room and labels are nobody's business but the control plane's.
      const steps = address === undefined ? (["publish-node"] as const) : undefined;
      const operation = await enqueueOperation(tx, { kind: "node-publish", subjectId: id, tenantId: null, now, steps });
      return ok({
        body: { operation: await shownOperation(tx, operation), node: viewNode(row, found.cluster, found.tenants) },
        headers: { location: operationLocation(operation), etag: etagOf(row.revision) },
        audit: { action: "node.change", subjectId: id, tenantId: null, details: { name, ...change } },
        operation,
      });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/nodes/{node}/enrolments",
      tag,
      scope: "admin",
      status: 202,
      summary:
        "Make a new enrolment token; an open older one stops working, the node's key stays until a new one is enrolled",
      params: nodeParams,
      answer: enrolment,
      refusals: ["not-found"],
    },
    async (tx, { params, now }) => {
      const found = await findNode(tx, params.node);
      if (found === undefined) return notFound("node", params.node);
      const { id, name } = found.node;
      const { columns, shown } = await openEnrolment(id, now);
      const [row] = await tx
        .update(nodes)
        .set({ ...columns, revision: sql`nextval('control.revision')`, updatedAt: now })
        .where(eq(nodes.id, id))
        .returning();
      if (row === undefined) return notFound("node", params.node);
      const operation = await enqueueOperation(tx, { kind: "node-publish", subjectId: id, tenantId: null, now });
      return ok({
        body: {
          operation: await shownOperation(tx, operation),
          node: viewNode(row, found.cluster, found.tenants),
          ...shown,
        },
        headers: { location: operationLocation(operation), etag: etagOf(row.revision) },
        audit: { action: "node.enrolment", subjectId: id, tenantId: null, details: { name } },
        operation,
      });
    },
  );
}
