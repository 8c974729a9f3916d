import { z } from "@hono/zod-openapi";
import { and, asc, eq, inArray, sql } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { clusters, hosts, nodes, tenants } from "../../db/schema.ts";
import { findTenant, hostsOf, lockTenant } from "../../db/tenants.ts";
import type { TenantAndCluster } from "../../db/tenants.ts";
import { ok } from "../../shared/result.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { notFound } from "../failure.ts";
import { slug } from "../names.ts";
import { createTenant } from "../new-tenant.ts";
import { operationLocation, shownOperation } from "../operation-view.ts";
import { page, paged, pageQuery } from "../paging.ts";
import { routeList } from "../route-list.ts";
import type { ConsoleApp } from "../respond.ts";
import { operationView, tenantView, viewTenant } from "../views.ts";

const newTenant = z
  .strictObject({
    slug,
    cluster: z.string().optional().openapi({ description: "Default: the default cluster" }),
    node: z.string().optional().openapi({ description: "Default: the node with the most room" }),
    services: z
      .array(z.string().max(40))
      .max(50)
      .optional()
      .openapi({ description: "Default: the catalogue's defaults" }),
    routes: routeList.default([]),
    multipleWorkspaces: z.boolean().default(false),
  })
  .openapi("NewTenant");

const change = z.strictObject({ multipleWorkspaces: z.boolean() }).openapi("TenantChange");

export const started = z.object({ operation: operationView, tenant: tenantView }).openapi("TenantOperation");

export const tenantParams = z.object({ tenant: z.string().openapi({ description: "slug or slug@cluster" }) });

export async function showTenant(db: Db, found: TenantAndCluster) {
  const { tenant } = found;
  const [node] = tenant.nodeId === null ? [] : await db.select().from(nodes).where(eq(nodes.id, tenant.nodeId));
  const names = (await hostsOf(db, tenant.id)).map(({ host }) => host);
  return viewTenant(found, node?.name ?? null, names);
}

export function tenantRoutes(app: ConsoleApp): void {
  const tag = "tenants";

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/tenants",
      tag,
      summary: "List tenants",
      scope: "read",
      status: 200,
      query: pageQuery.extend({
        cluster: z.string().optional(),
        state: tenantView.shape.state.optional(),
      }),
      answer: page(tenantView),
    },
    async (db, { query }) => {
      const [afterSlug = "", afterId = ""] = query.cursor ?? [];
      const rows = await db
        .select({ tenant: tenants, cluster: clusters, node: nodes.name })
        .from(tenants)
        .innerJoin(clusters, eq(clusters.id, tenants.clusterId))
        .leftJoin(nodes, eq(nodes.id, tenants.nodeId))
        .where(
          and(
            query.q === undefined ? undefined : sql`strpos(${tenants.slug}, ${query.q}) > 0`,
            query.cluster === undefined ? undefined : eq(clusters.name, query.cluster),
            query.state === undefined ? undefined : eq(tenants.state, query.state),
            query.cursor === undefined ? undefined : sql`(${tenants.slug}, ${tenants.id}) > (${afterSlug}, ${afterId})`,
          ),
        )
        .orderBy(asc(tenants.slug), asc(tenants.id))
        .limit(query.limit + 1);
      const ids = rows.map(({ tenant }) => tenant.id);
      const names = ids.length === 0 ? [] : await db.select().from(hosts).where(inArray(hosts.tenantId, ids));
      const view = (row: (typeof rows)[number]) =>
        viewTenant(
          row,
          row.node,
          names
            .filter(({ tenantId }) => tenantId === row.tenant.id)
            .map(({ host }) => host)
            .toSorted(),
        );
      return ok({ body: paged(rows, query.limit, view, ({ tenant }) => [tenant.slug, tenant.id]) });
    },
  );

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/tenants/{tenant}",
      tag,
      summary: "Show a tenant",
      scope: "read",
      status: 200,
      params: tenantParams,
      answer: tenantView,
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      return ok({ body: await showTenant(db, found), headers: { etag: etagOf(found.tenant.revision) } });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/tenants",
      tag,
      summary: "Create a tenant",
      scope: "write",
      status: 202,
      body: newTenant,
      answer: started,
      refusals: ["conflict", "no-capacity"],
    },
    async (tx, { body, now }) => {
      const created = await createTenant(
        tx,
        { cluster: undefined, node: undefined, services: undefined, ...body },
        now,
      );
      if (!created.ok) return created;
      const { tenant, cluster, operation } = created.value;
      return ok({
        body: {
          operation: await shownOperation(tx, operation),
          tenant: viewTenant({ tenant, cluster }, null, created.value.hosts),
        },
        headers: { location: operationLocation(operation), etag: etagOf(tenant.revision) },
        audit: {
          action: "tenant.create",
          subjectId: tenant.id,
          tenantId: tenant.id,
          details: { slug: tenant.slug, cluster: cluster.name, node: body.node ?? null },
        },
        operation,
      });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "patch",
      path: "/tenants/{tenant}",
      tag,
      summary: "Change a tenant",
      scope: "write",
      status: 200,
      params: tenantParams,
      body: change,
      answer: tenantView,
      refusals: ["not-found", "precondition-failed"],
    },
    async (tx, { params, body, now }, ifMatch) => {
      const found = await lockTenant(tx, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const matched = ifMatch(etagOf(found.tenant.revision));
      if (!matched.ok) return matched;
      const [tenant] = await tx
        .update(tenants)
        .set({ ...body, revision: sql`nextval('control.revision')`, updatedAt: now })
        .where(eq(tenants.id, found.tenant.id))
        .returning();
      if (tenant === undefined) return notFound("tenant", params.tenant);
      return ok({
        body: await showTenant(tx, { tenant, cluster: found.cluster }),
        headers: { etag: etagOf(tenant.revision) },
        audit: { action: "tenant.change", subjectId: tenant.id, tenantId: tenant.id, details: body },
      });
    },
  );
}
