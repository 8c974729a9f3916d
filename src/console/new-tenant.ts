import { and, count, eq, inArray, isNull, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { enqueueOperation } from "../db/operations.ts";
import type { Enqueued } from "../db/operations.ts";
import { isDedicated, placesTaken, takesTenants } from "../db/placement.ts";
import { catalogue, clusters, hosts, nodes, routes, services, tenants, workspaces } from "../db/schema.ts";
import type { NodeRow } from "../db/placement.ts";
import type { ClusterRow, TenantRow } from "../db/tenants.ts";
import { NAME_PROBLEM_TEXT, parseSlug } from "../policy/names.ts";
import type { TenantRoute } from "../policy/record.ts";
import { newId } from "../shared/ids.ts";
import { ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import { fail } from "./failure.ts";
import type { Failure } from "./failure.ts";
import { MAX_ROUTES_PER_TENANT } from "./limits.ts";
import { routeRow } from "./route-list.ts";

export interface TenantRequest {
  /** Default: a new one. */
  readonly id?: string;
  readonly slug: string;
  readonly cluster: string | undefined;
  readonly node: string | undefined;
  /** Names in the cluster's catalogue; undefined: its defaults. */
  readonly services: readonly string[] | undefined;
  /** Added to those of the services; one with the same prefix replaces theirs. */
  readonly routes: readonly TenantRoute[];
  readonly multipleWorkspaces: boolean;
}

export interface NewTenant {
  readonly tenant: TenantRow;
  readonly cluster: ClusterRow;
  readonly hosts: readonly string[];
  readonly operation: Enqueued;
}

/**
 * Checks a new tenant and writes all that it is: the row, its default workspace, hosts, services, routes, and the operation that makes it
 * real. Runs in the caller's transaction, so a refusal leaves nothing.
 */
export async function createTenant(tx: Db, request: TenantRequest, now: Date): Promise<Result<NewTenant, Failure>> {
  const { slug } = request;
  const [found] = await tx
    .select({ id: clusters.id })
    .from(clusters)
    .where(request.cluster === undefined ? eq(clusters.isDefault, true) : eq(clusters.name, request.cluster));
  if (found === undefined) return fail("bad-request", `There is no cluster "${request.cluster ?? "(default)"}".`);

  // The lock makes creations in one cluster take turns, so that two can't both get the last free place. So from here on what does not depend
  // on each other is asked for together: the next one waits for every answer.
  const [[cluster], reserved, wanted, [domain], active] = await Promise.all([
    tx.select().from(clusters).where(eq(clusters.id, found.id)).for("no key update"),
    tx
      .select({ name: nodes.name })
      .from(nodes)
      .where(eq(nodes.name, slug))
      .union(tx.select({ name: clusters.name }).from(clusters).where(eq(clusters.name, slug))),
    tx
      .select()
      .from(catalogue)
      .where(
        and(
          eq(catalogue.clusterId, found.id),
          request.services === undefined
            ? eq(catalogue.isDefault, true)
            : inArray(catalogue.name, [...request.services]),
        ),
      ),
    tx
      .select({ name: clusters.name })
      .from(clusters)
      .where(
        sql`${clusters.baseDomains} && (
          select array_agg(${slug}::text || '.' || base) from ${clusters} own, unnest(own.base_domains) base where own.id = ${found.id})`,
      ),
    tx.select().from(nodes).where(takesTenants(found.id)),
  ]);
  if (cluster === undefined) return fail("bad-request", `There is no cluster "${request.cluster ?? "(default)"}".`);
  const named = parseSlug(
    slug,
    reserved.map(({ name }) => name),
  );
  if (!named.ok) return fail("bad-request", `slug: ${NAME_PROBLEM_TEXT[named.error]}`);

  const node = await roomFor(tx, cluster, active, request.node);
  if (!node.ok) return node;
  const missing = request.services?.find((name) => !wanted.some((service) => service.name === name));
  if (missing !== undefined) return fail("bad-request", `Cluster "${cluster.name}" has no service "${missing}".`);

  const byPrefix = new Map<string, TenantRoute>();
  for (const service of wanted)
    for (const { prefix, access } of service.routes)
      byPrefix.set(prefix, { prefix, access, to: { kind: "service", service: service.name } });
  for (const route of request.routes) {
    const { to } = route;
    if (to.kind === "service" && !wanted.some((service) => service.name === to.service))
      return fail("bad-request", `Route ${route.prefix}: the tenant has no service "${to.service}".`);
    byPrefix.set(route.prefix, route);
  }
  if (byPrefix.size > MAX_ROUTES_PER_TENANT)
    return fail("bad-request", `A tenant has at most ${MAX_ROUTES_PER_TENANT} routes.`);

  if (domain !== undefined) return fail("conflict", `"${slug}" is the domain of cluster "${domain.name}".`);

  const hostNames = cluster.baseDomains.map((base) => `${slug}.${base}`);
  const tenantId = request.id ?? newId("ten");
  const workspaceId = newId("wks");
  const parts = [
    tx
      .$with("new_workspace")
      .as(
        tx
          .insert(workspaces)
          .values({ id: workspaceId, tenantId, name: "default", isDefault: true, createdAt: now })
          .returning({ of: workspaces.tenantId }),
      ),
    tx.$with("new_hosts").as(
      tx
        .insert(hosts)
        .values(hostNames.map((host) => ({ host, tenantId, kind: "primary" as const })))
        .returning({ of: hosts.tenantId }),
    ),
    ...(wanted.length === 0
      ? []
      : [
          tx.$with("new_services").as(
            tx
              .insert(services)
              .values(
                wanted.map(({ name, driver, protocol, healthPath, needsSchema }) => ({
                  tenantId,
                  workspaceId,
                  name,
                  driver,
                  protocol,
                  healthPath,
                  needsSchema,
                })),
              )
              .returning({ of: services.tenantId }),
          ),
        ]),
    ...(byPrefix.size === 0
      ? []
      : [
          tx.$with("new_routes").as(
            tx
              .insert(routes)
              .values([...byPrefix.values()].map((route) => routeRow(tenantId, route)))
              .returning({ of: routes.tenantId }),
          ),
        ]),
  ];
  const [[tenant], operation] = await Promise.all([
    tx
      .with(...parts)
      .insert(tenants)
      .values({
        id: tenantId,
        slug,
        clusterId: cluster.id,
        requestedNodeId: node.value,
        createdAt: now,
        updatedAt: now,
        multipleWorkspaces: request.multipleWorkspaces,
      })
      .returning(),
    enqueueOperation(tx, { kind: "tenant-create", subjectId: tenantId, tenantId, now }),
  ]);
  if (tenant === undefined) throw new Error("no row came back");
  return ok({ tenant, cluster, hosts: hostNames, operation });
}

/**
 * Whether the cluster (or the node asked for) has a free place; the id of the node asked for, or null. Tenants without a node yet count too.
 * The provisioner's step choose-node decides for good; this only keeps a hopeless request from being accepted.
 */
async function roomFor(
  tx: Db,
  cluster: ClusterRow,
  active: readonly NodeRow[],
  nodeName: string | undefined,
): Promise<Result<string | null, Failure>> {
  const wanted = active.find(({ name }) => name === nodeName);
  if (nodeName !== undefined && wanted === undefined)
    return fail("bad-request", `Cluster "${cluster.name}" has no active node "${nodeName}".`);
  if (active.length === 0)
    return fail("no-capacity", `Cluster "${cluster.name}" has no active node. Register one first.`);
  const usable = active.filter((node) => node === wanted || !isDedicated(node));
  const placeless = and(eq(tenants.clusterId, cluster.id), isNull(tenants.nodeId));
  const [taken, [waiting]] = await Promise.all([
    placesTaken(
      tx,
      usable.map(({ id }) => id),
    ),
    tx.select({ n: count() }).from(tenants).where(placeless),
  ]);
  if (wanted !== undefined) {
    const waiting = and(isNull(tenants.nodeId), eq(tenants.requestedNodeId, wanted.id));
    const [asked] = await tx.select({ n: count() }).from(tenants).where(waiting);
    if ((taken.get(wanted.id) ?? 0) + (asked?.n ?? 0) >= wanted.capacity)
      return fail("no-capacity", `Node "${wanted.name}" is full: it takes ${wanted.capacity} tenants.`);
  }
  const capacity = usable.reduce((sum, node) => sum + node.capacity, 0);
  if ([...taken.values()].reduce((sum, n) => sum + n, waiting?.n ?? 0) >= capacity)
    return fail(
      "no-capacity",
      `The nodes of cluster "${cluster.name}" are full: together they take ${capacity} tenants.`,
    );
  if (wanted !== undefined && wanted.enrolledAt === null && wanted.lastSeenAt === null)
    return fail(
      "conflict",
      `Node "${wanted.name}" has never been enrolled. Enrol it first; if that was this moment, try again in a few seconds.`,
    );
  return ok(wanted?.id ?? null);
}
