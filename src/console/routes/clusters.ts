import { z } from "@hono/zod-openapi";
import { and, asc, eq, gt, sql } from "drizzle-orm";
import { enqueueOperation, openOperation } from "../../db/operations.ts";
import { clusters } from "../../db/schema.ts";
import { newId } from "../../shared/ids.ts";
import { ok } from "../../shared/result.ts";
import { baseDomains, checkDomains } from "../base-domains.ts";
import { NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { label } from "../names.ts";
import { operationLocation, shownOperation } from "../operation-view.ts";
import { page, paged, pageQuery } from "../paging.ts";
import type { ConsoleApp } from "../respond.ts";
import { clusterView, operationView, viewCluster } from "../views.ts";

const newCluster = z
  .strictObject({
    name: label,
    baseDomains,
    databaseBinding: z.string().regex(/^CLUSTER_DB_[A-Z0-9_]{1,40}$/, "CLUSTER_DB_ and a name in upper case"),
    databaseAddress: z
      .url({ protocol: /^postgres(ql)?$/, abort: true })
      .refine((text) => new URL(text).username === "" && new URL(text).password === "", "no user, no password"),
    isDefault: z.boolean().default(false),
  })
  .openapi("NewCluster");

const params = z.object({ cluster: z.string() });

export function clusterRoutes(app: ConsoleApp): void {
  const tag = "clusters";

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/clusters",
      tag,
      summary: "List clusters",
      scope: "read",
      status: 200,
      query: pageQuery,
      answer: page(clusterView),
    },
    async (db, { query }) => {
      const rows = await db
        .select()
        .from(clusters)
        .where(
          and(
            query.q === undefined ? undefined : sql`strpos(${clusters.name}, ${query.q}) > 0`,
            query.cursor === undefined ? undefined : gt(clusters.name, query.cursor[0] ?? ""),
          ),
        )
        .orderBy(asc(clusters.name))
        .limit(query.limit + 1);
      return ok({ body: paged(rows, query.limit, viewCluster, (row) => [row.name]) });
    },
  );

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/clusters/{cluster}",
      tag,
      summary: "Show a cluster",
      scope: "read",
      status: 200,
      params,
      answer: clusterView,
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const [row] = await db.select().from(clusters).where(eq(clusters.name, params.cluster));
      return row === undefined ? notFound("cluster", params.cluster) : ok({ body: viewCluster(row) });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/clusters",
      tag,
      summary: "Register a cluster",
      scope: "admin",
      status: 201,
      body: newCluster,
      answer: clusterView,
      refusals: ["conflict"],
    },
    async (tx, { body }) => {
      const allowed = await checkDomains(tx, null, body.baseDomains);
      if (!allowed.ok) return allowed;
      const [row] = await tx
        .insert(clusters)
        .values({ id: newId("clu"), ...body })
        .returning();
      if (row === undefined) throw new Error("no row came back");
      return ok({
        body: viewCluster(row),
        audit: { action: "cluster.create", subjectId: row.id, tenantId: null, details: { name: row.name } },
      });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "patch",
      path: "/clusters/{cluster}",
      tag,
      summary: "Give a cluster other base domains: its tenants get hosts below new ones, and lose those below old ones",
      scope: "admin",
      status: 202,
      params,
      body: z.strictObject({ baseDomains }).openapi("ClusterChange"),
      answer: z.object({ operation: operationView, cluster: clusterView }).openapi("ClusterOperation"),
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, body, now }) => {
      // Creations of tenants take turns with this by the same lock.
      const [found] = await tx.select().from(clusters).where(eq(clusters.name, params.cluster)).for("no key update");
      if (found === undefined) return notFound("cluster", params.cluster);
      const open = await openOperation(tx, found.id);
      if (open !== null) return fail("conflict", `Operation ${open.id} (${open.kind}) of this cluster is under way.`);
      const allowed = await checkDomains(tx, found.id, body.baseDomains);
      if (!allowed.ok) return allowed;
      const [row] = await tx
        .update(clusters)
        .set({ baseDomains: body.baseDomains })
        .where(eq(clusters.id, found.id))
        .returning();
      if (row === undefined) throw new Error("no row came back");
      const operation = await enqueueOperation(tx, {
        kind: "cluster-domains",
        subjectId: found.id,
        tenantId: null,
        now,
      });
      return ok({
        body: { operation: await shownOperation(tx, operation), cluster: viewCluster(row) },
        headers: { location: operationLocation(operation) },
        audit: {
          action: "cluster.domains",
          subjectId: row.id,
          tenantId: null,
          details: { name: row.name, from: found.baseDomains, to: row.baseDomains },
        },
        operation,
      });
    },
  );
}
