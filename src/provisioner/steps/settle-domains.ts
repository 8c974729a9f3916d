import { and, asc, count, desc, eq, gte, inArray, isNull, lt, ne, notInArray, or, sql, type SQL } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { enqueueHostsChange } from "../../db/hosts.ts";
import { enqueueOperation, withdrawalSubject, type Enqueued, type OperationRow } from "../../db/operations.ts";
import { clusters, hosts, operations, tenants } from "../../db/schema.ts";
import { DOMAINS_PARALLEL, DOMAINS_ROUND_MS } from "../limits.ts";
import type { StepOutcome } from "../machine.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

const OPEN = ["pending", "running"] as const;

/**
 * Every tenant of a cluster has a host below each of its base domains, and none below one that it has no more: a few tenants at a time get
 * rows that say so, and the operation that brings directory, node and front in line with them. Which those are is read anew in every round, so
 * a run that dies costs nothing. A tenant whose operation failed is left as it is, and this fails in the end with the first such reason.
 */
export const settleDomains: Step = async ({ ports, operation, begunAt, commit }) => {
  const clusterId = operation.subjectId;
  const now = new Date(ports.clock());
  const { outcome, begun } = await commit(async (tx): Promise<{ outcome: StepOutcome; begun: Enqueued[] }> => {
    // Creations in the cluster take turns with this by the same lock: they see the old domains and are seen here, or the new ones.
    const [cluster] = await tx.select().from(clusters).where(eq(clusters.id, clusterId)).for("no key update");
    if (cluster === undefined) return { outcome: { kind: "give-up", reason: "the cluster is gone" }, begun: [] };
    const begun: Enqueued[] = [];
    const room = DOMAINS_PARALLEL - (await underWay(tx, clusterId));
    const next = room <= 0 ? [] : await outOfLine(tx, operation, begunAt, cluster.baseDomains, room);
    for (const tenant of next) begun.push(...(await bringInLine(tx, tenant, cluster.baseDomains, now)));
    const open = await underWay(tx, clusterId);
    if (next.length > 0 || open > 0)
      return { outcome: { kind: "more", reason: `${open} tenants are under way`, delayMs: DOMAINS_ROUND_MS }, begun };
    const failed = await firstFailure(tx, clusterId, begunAt);
    return { outcome: failed === null ? DONE : { kind: "give-up", reason: failed }, begun };
  });
  for (const message of begun) await ports.send({ kind: "operation", ...message }, 0);
  return outcome;
};

type Tenant = Pick<typeof tenants.$inferSelect, "id" | "slug" | "state">;

const domainArray = (domains: readonly string[]): SQL => sql`${`{${domains.join(",")}}`}::text[]`;

/** Tenants with a host too few, or one too many that is not on its way out yet. Locked; those that somebody else has locked come next time. */
async function outOfLine(
  tx: Db,
  { subjectId: clusterId, createdAt }: OperationRow,
  begunAt: Date,
  domains: readonly string[],
  limit: number,
): Promise<Tenant[]> {
  // Of an earlier try of this operation.
  const newest = newestChanges(tx, clusterId, createdAt);
  const failedEarlier = tx
    .select({ id: newest.subjectId })
    .from(newest)
    .where(and(eq(newest.state, "failed"), lt(newest.createdAt, begunAt)));
  const own = and(eq(hosts.tenantId, tenants.id), eq(hosts.kind, "primary"), isNull(hosts.leavingSince));
  const wanted = sql`(select ${tenants.slug} || '.' || base from unnest(${domainArray(domains)}) base)`;
  const missing = sql`exists (select 1 from unnest(${domainArray(domains)}) base
    where not exists (select 1 from ${hosts} where ${hosts.host} = ${tenants.slug} || '.' || base
      and (${hosts.tenantId} <> ${tenants.id} or ${hosts.leavingSince} is null)))`;
  const surplus = sql`exists (select 1 from ${hosts} where ${own} and ${hosts.host} not in ${wanted})`;
  return await tx
    .select({ id: tenants.id, slug: tenants.slug, state: tenants.state })
    .from(tenants)
    .where(
      and(
        eq(tenants.clusterId, clusterId),
        ne(tenants.state, "deleting"),
        or(missing, surplus, and(ne(tenants.state, "failed"), inArray(tenants.id, failedEarlier))),
      ),
    )
    .orderBy(asc(tenants.id))
    .limit(limit)
    .for("no key update", { skipLocked: true });
}

async function bringInLine(
  tx: Db,
  { id, slug, state }: Tenant,
  domains: readonly string[],
  now: Date,
): Promise<Enqueued[]> {
  const wanted = domains.map((base) => `${slug}.${base}`);
  const rows = wanted.map((host) => ({ host, tenantId: id, kind: "primary" as const, createdAt: now }));
  const own = and(eq(hosts.tenantId, id), eq(hosts.kind, "primary"));
  await tx.insert(hosts).values(rows).onConflictDoNothing();
  // One that comes back before it has gone.
  await tx
    .update(hosts)
    .set({ leavingSince: null, withdrawnAt: null })
    .where(and(own, inArray(hosts.host, wanted)));
  const left = await tx
    .update(hosts)
    .set({ leavingSince: now })
    .where(and(own, isNull(hosts.leavingSince), notInArray(hosts.host, wanted)))
    .returning({ host: hosts.host });
  // One that could not be made shows no visitor anything but that: what it has too many goes, the rest comes with its next try.
  if (state !== "failed") return [await enqueueHostsChange(tx, id, now)];
  if (left.length === 0) return [];
  const subjectId = withdrawalSubject(id);
  return [await enqueueOperation(tx, { kind: "host-withdraw", subjectId, tenantId: id, now })];
}

const ofCluster = (clusterId: string): SQL =>
  sql`${operations.tenantId} in (select ${tenants.id} from ${tenants} where ${tenants.clusterId} = ${clusterId})`;

async function underWay(tx: Db, clusterId: string): Promise<number> {
  const [row] = await tx
    .select({ n: count() })
    .from(operations)
    .where(and(eq(operations.kind, "tenant-hosts"), inArray(operations.state, [...OPEN]), ofCluster(clusterId)));
  return row?.n ?? 0;
}

/** Each tenant's newest change of hosts since then. */
const newestChanges = (tx: Db, clusterId: string, since: Date) =>
  tx
    .selectDistinctOn([operations.subjectId], {
      subjectId: operations.subjectId,
      state: operations.state,
      reason: operations.reason,
      createdAt: operations.createdAt,
    })
    .from(operations)
    .where(and(eq(operations.kind, "tenant-hosts"), gte(operations.createdAt, since), ofCluster(clusterId)))
    .orderBy(operations.subjectId, desc(operations.seq))
    .as("newest");

/** Of the tenants whose newest change of hosts failed since. */
async function firstFailure(tx: Db, clusterId: string, since: Date): Promise<string | null> {
  const newest = newestChanges(tx, clusterId, since);
  const failed = await tx.select().from(newest).where(eq(newest.state, "failed")).orderBy(asc(newest.subjectId));
  const [first] = failed;
  if (first === undefined) return null;
  return `the hosts of ${failed.length} tenants did not follow; ${first.subjectId}: ${first.reason ?? "no reason is known"}`;
}
