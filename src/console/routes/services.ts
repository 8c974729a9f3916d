import { z } from "@hono/zod-openapi";
import { and, asc, eq } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { catalogue, clusters, routes, services, workspaces } from "../../db/schema.ts";
import { findTenant } from "../../db/tenants.ts";
import { accessMode } from "../../policy/record.ts";
import { nodeService } from "../../protocol/node-channel.ts";
import { SERVICE_PROTOCOLS } from "../../protocol/service-protocol.ts";
import { ok } from "../../shared/result.ts";
import type { Result } from "../../shared/result.ts";
import { beginChange } from "../begin-change.ts";
import { NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import type { Failure } from "../failure.ts";
import { MAX_ROUTES_PER_TENANT, MAX_SERVICES_PER_TENANT } from "../limits.ts";
import { prefix } from "../names.ts";
import type { ConsoleApp } from "../respond.ts";
import { routeRow } from "../route-list.ts";
import { catalogueEntry, serviceView } from "../views.ts";
import { started, tenantParams } from "./tenants.ts";

const clusterParams = z.object({ cluster: z.string() });
const entryParams = clusterParams.extend({ service: nodeService.shape.name });
const serviceParams = tenantParams.extend({ service: nodeService.shape.name });

const newEntry = z
  .strictObject({
    driver: nodeService.shape.driver.openapi({
      description: "What runs it. `command` and `image` name entries of the nodes' own catalogues (docs/node.md)",
    }),
    protocol: z
      .enum(SERVICE_PROTOCOLS)
      .default("http")
      .openapi({ description: "`h2c`: HTTP/2 without TLS, for gRPC. `mqtt`: a broker (docs/node.md)" }),
    healthPath: nodeService.shape.healthPath.default(null),
    needsSchema: z
      .boolean()
      .default(false)
      .openapi({ description: "Gets the tenant's database as the secret DATABASE_URL" }),
    isDefault: z
      .boolean()
      .default(false)
      .openapi({ description: "New tenants get it unless they name their services" }),
    routes: z
      .array(z.strictObject({ prefix, access: accessMode.default("public") }))
      .max(20)
      .default([])
      .openapi({ description: "Routes that come with it" }),
  })
  .superRefine((entry, context) => {
    if (entry.protocol === "mqtt" && (entry.routes.length > 0 || entry.healthPath !== null))
      context.addIssue({ code: "custom", path: ["protocol"], message: "a broker has no routes and no health path" });
  })
  .openapi("NewCatalogueEntry");

/** What a cluster's nodes can run for tenants, and what they run. */
export function serviceRoutes(app: ConsoleApp): void {
  const entries = { ...NO_INPUT, tag: "clusters", refusals: ["not-found"] } as const;

  read(
    app,
    {
      ...entries,
      method: "get",
      path: "/clusters/{cluster}/services",
      scope: "read",
      status: 200,
      summary: "List what a cluster's nodes can run for a tenant",
      params: clusterParams,
      answer: z.object({ items: z.array(catalogueEntry) }),
    },
    async (db, { params }) => {
      const clusterId = await clusterIdOf(db, params.cluster);
      if (clusterId === null) return notFound("cluster", params.cluster);
      const rows = await db
        .select()
        .from(catalogue)
        .where(eq(catalogue.clusterId, clusterId))
        .orderBy(asc(catalogue.name));
      return ok({ body: { items: rows.map(viewEntry) } });
    },
  );

  write(
    app,
    {
      ...entries,
      method: "put",
      path: "/clusters/{cluster}/services/{service}",
      scope: "admin",
      status: 200,
      summary: "Say what a service is; tenants that have it keep what they have",
      params: entryParams,
      body: newEntry,
      answer: catalogueEntry,
    },
    async (tx, { params, body }) => {
      const clusterId = await clusterIdOf(tx, params.cluster);
      if (clusterId === null) return notFound("cluster", params.cluster);
      const [row] = await tx
        .insert(catalogue)
        .values({ clusterId, name: params.service, ...body })
        .onConflictDoUpdate({ target: [catalogue.clusterId, catalogue.name], set: body })
        .returning();
      if (row === undefined) throw new Error("no row came back");
      const details = { cluster: params.cluster, service: params.service };
      return ok({
        body: viewEntry(row),
        audit: { action: "catalogue.put", subjectId: clusterId, tenantId: null, details },
      });
    },
  );

  write(
    app,
    {
      ...entries,
      method: "delete",
      path: "/clusters/{cluster}/services/{service}",
      scope: "admin",
      status: 200,
      summary: "Offer a service no longer; tenants that have it keep it",
      params: entryParams,
      answer: catalogueEntry,
    },
    async (tx, { params }) => {
      const clusterId = await clusterIdOf(tx, params.cluster);
      if (clusterId === null) return notFound("cluster", params.cluster);
      const [row] = await tx
        .delete(catalogue)
        .where(and(eq(catalogue.clusterId, clusterId), eq(catalogue.name, params.service)))
        .returning();
      if (row === undefined) return notFound("service", params.service);
      const details = { cluster: params.cluster, service: params.service };
      return ok({
        body: viewEntry(row),
        audit: { action: "catalogue.delete", subjectId: clusterId, tenantId: null, details },
      });
    },
  );

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/tenants/{tenant}/services",
      tag: "tenants",
      scope: "read",
      status: 200,
      summary: "List its services with their status",
      params: tenantParams,
      answer: z.object({ items: z.array(serviceView) }),
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const rows = await db
        .select({ service: services, workspace: workspaces.name })
        .from(services)
        .innerJoin(workspaces, eq(workspaces.id, services.workspaceId))
        .where(eq(services.tenantId, found.tenant.id))
        .orderBy(asc(services.name), asc(workspaces.name));
      const items = rows.map(({ service, workspace }) => ({
        name: service.name,
        workspace,
        driver: service.driver.kind,
        protocol: service.protocol,
        stopped: service.stopped,
        status: service.status,
        updatedAt: service.updatedAt.toISOString(),
      }));
      return ok({ body: { items } });
    },
  );

  const change = {
    ...NO_INPUT,
    tag: "tenants",
    scope: "write",
    status: 202,
    params: serviceParams,
    answer: started,
    refusals: ["not-found", "conflict", "precondition-failed"],
  } as const;
  const how = { kind: "tenant-services", from: ["active", "suspended"], whileBusy: "refuse" } as const;

  write(
    app,
    {
      ...change,
      method: "put",
      path: "/tenants/{tenant}/services/{service}",
      summary:
        "Give it a service of its cluster's catalogue with the routes of that, or the newest form of one that it has",
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        ...how,
        apply: ({ id, clusterId }) =>
          install(tx, { tenantId: id, clusterId, name: call.params.service, now: call.now }),
      }),
  );

  write(
    app,
    {
      ...change,
      method: "delete",
      path: "/tenants/{tenant}/services/{service}",
      summary: "Take a service away",
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        ...how,
        apply: async ({ id }) => {
          const name = call.params.service;
          const leading = await tx
            .select({ prefix: routes.prefix })
            .from(routes)
            .where(and(eq(routes.tenantId, id), eq(routes.kind, "service"), eq(routes.destination, name)))
            .orderBy(asc(routes.prefix));
          if (leading.length > 0) {
            const prefixes = leading.map(({ prefix: each }) => each).join(", ");
            return fail("conflict", `Routes lead to it: ${prefixes}. Replace the tenant's routes first.`);
          }
          const gone = await tx
            .delete(services)
            .where(and(eq(services.tenantId, id), eq(services.name, name)))
            .returning({ name: services.name });
          return gone.length === 0 ? notFound("service", name) : ok({ details: { service: name, change: "remove" } });
        },
      }),
  );

  for (const verb of ["stop", "start"] as const)
    write(
      app,
      {
        ...change,
        method: "post",
        path: `/tenants/{tenant}/services/{service}/${verb}`,
        summary:
          verb === "stop" ? "Switch a service off without losing it: its routes answer 503" : "Switch it on again",
      },
      (tx, call, ifMatch) =>
        beginChange(tx, call, ifMatch, {
          ...how,
          apply: async ({ id }) => {
            const name = call.params.service;
            const set = { stopped: verb === "stop", updatedAt: call.now };
            const changed = await tx
              .update(services)
              .set(set)
              .where(and(eq(services.tenantId, id), eq(services.name, name)))
              .returning({ name: services.name });
            return changed.length === 0 ? notFound("service", name) : ok({ details: { service: name, change: verb } });
          },
        }),
    );
}

async function clusterIdOf(db: Db, name: string): Promise<string | null> {
  const [row] = await db.select({ id: clusters.id }).from(clusters).where(eq(clusters.name, name));
  return row?.id ?? null;
}

const viewEntry = (row: typeof catalogue.$inferSelect): z.input<typeof catalogueEntry> => {
  const { name, driver, protocol, healthPath, needsSchema, isDefault, routes: own } = row;
  return { name, driver, protocol, healthPath, needsSchema, isDefault, routes: own };
};

/** In the default workspace, or, where the tenant has the service, in all that have it. */
async function install(
  tx: Db,
  wanted: { readonly tenantId: string; readonly clusterId: string; readonly name: string; readonly now: Date },
): Promise<Result<{ details: Record<string, unknown> }, Failure>> {
  const { tenantId, clusterId, name, now } = wanted;
  const [entry] = await tx
    .select()
    .from(catalogue)
    .where(and(eq(catalogue.clusterId, clusterId), eq(catalogue.name, name)));
  if (entry === undefined) return fail("not-found", `The cluster's catalogue has no service "${name}".`);
  const { driver, protocol, healthPath, needsSchema } = entry;
  const form = { driver, protocol, healthPath, needsSchema, updatedAt: now };
  const had = await tx.select().from(services).where(eq(services.tenantId, tenantId));
  const broker = had.find((service) => service.protocol === "mqtt" && service.name !== name);
  if (protocol === "mqtt" && broker !== undefined)
    return fail("conflict", `The tenant has the broker "${broker.name}" already, and can have one.`);
  if (had.some((service) => service.name === name)) {
    await tx
      .update(services)
      .set(form)
      .where(and(eq(services.tenantId, tenantId), eq(services.name, name)));
    return ok({ details: { service: name, change: "renew" } });
  }
  if (had.length >= MAX_SERVICES_PER_TENANT)
    return fail("conflict", `A tenant has at most ${MAX_SERVICES_PER_TENANT} services.`);
  const [workspace] = await tx
    .select({ id: workspaces.id })
    .from(workspaces)
    .where(and(eq(workspaces.tenantId, tenantId), eq(workspaces.isDefault, true)));
  if (workspace === undefined) throw new Error("the tenant has no default workspace");
  await tx.insert(services).values({ tenantId, workspaceId: workspace.id, name, ...form });
  const present = await tx.select({ prefix: routes.prefix }).from(routes).where(eq(routes.tenantId, tenantId));
  const taken = new Set(present.map((route) => route.prefix));
  const fresh = entry.routes.filter((route) => !taken.has(route.prefix));
  if (present.length + fresh.length > MAX_ROUTES_PER_TENANT)
    return fail("conflict", `A tenant has at most ${MAX_ROUTES_PER_TENANT} routes.`);
  if (fresh.length > 0)
    await tx
      .insert(routes)
      .values(fresh.map((route) => routeRow(tenantId, { ...route, to: { kind: "service", service: name } })));
  return ok({ details: { service: name, change: "add", routes: fresh.map((route) => route.prefix) } });
}
