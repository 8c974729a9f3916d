import { z } from "@hono/zod-openapi";
import { and, asc, eq, gt, sql } from "drizzle-orm";
import { clusters, hosts } from "../../db/schema.ts";
import { newId } from "../../shared/ids.ts";
import { ok } from "../../shared/result.ts";
import { NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { label } from "../names.ts";
import { page, paged, pageQuery } from "../paging.ts";
import type { ConsoleApp } from "../respond.ts";
import { clusterView, viewCluster } from "../views.ts";

const newCluster = z
  .strictObject({
    name: label,
    baseDomains: z
      .array(
        z
          .string()
          .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/, "not a domain name")
          .max(200),
      )
      .min(1)
      .max(10),
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
      const domains = `{${body.baseDomains.join(",")}}`;
      const [overlap] = await tx
        .select({ name: clusters.name })
        .from(clusters)
        .where(sql`${clusters.baseDomains} && ${domains}::text[]`);
      if (overlap !== undefined) return fail("conflict", `Cluster "${overlap.name}" has one of these base domains.`);
      const [held] = await tx
        .select()
        .from(hosts)
        .where(
          sql`exists (select 1 from unnest(${domains}::text[]) domain
            where ${hosts.host} = domain or (${hosts.kind} = 'custom' and ${hosts.host} like '%.' || domain))`,
        )
        .limit(1);
      if (held !== undefined) return fail("conflict", `A tenant has the host "${held.host}".`);
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
}
