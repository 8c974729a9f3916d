import { and, asc, eq, sql } from "drizzle-orm";
import type { JobDefinition, JobSet } from "../protocol/jobs.ts";
import type { Db } from "./client.ts";
import { hosts, jobs, jobSettings } from "./schema.ts";
import { tenantById, tenantName } from "./tenants.ts";

export type JobRow = typeof jobs.$inferSelect;
export type JobSettingsRow = typeof jobSettings.$inferSelect;

/** What holds for a tenant without a row. */
export const DEFAULT_JOB_SETTINGS = { workers: 1, logLevel: "info", retentionDays: 30, revision: 0 } as const;

/** The tenant's row, locked until the transaction ends; made with the defaults when there is none. Under a new revision. */
export async function raiseJobSettings(tx: Db, tenantId: string, now: Date): Promise<JobSettingsRow> {
  const [row] = await tx
    .insert(jobSettings)
    .values({ tenantId, updatedAt: now })
    .onConflictDoUpdate({ target: jobSettings.tenantId, set: { revision: sql`nextval('control.revision')` } })
    .returning();
  if (row === undefined) throw new Error("no row came back");
  return row;
}

export async function jobSettingsOf(db: Db, tenantId: string): Promise<JobSettingsRow | null> {
  const [row] = await db.select().from(jobSettings).where(eq(jobSettings.tenantId, tenantId));
  return row ?? null;
}

export async function jobsOf(db: Db, tenantId: string): Promise<JobRow[]> {
  return await db.select().from(jobs).where(eq(jobs.tenantId, tenantId)).orderBy(asc(jobs.createdAt), asc(jobs.id));
}

/** By name or id. */
export async function findJob(db: Db, tenantId: string, name: string): Promise<JobRow | null> {
  const which = name.startsWith("job_") ? eq(jobs.id, name) : eq(jobs.name, name);
  const [row] = await db
    .select()
    .from(jobs)
    .where(and(eq(jobs.tenantId, tenantId), which));
  return row ?? null;
}

/**
 * What each worker that the tenant ever had is to do, under a new revision; empty when it never had a job, or is gone. `jobs: false`: none of
 * them has any job left. In a transaction.
 */
export async function publishedJobSets(tx: Db, tenantId: string, now: Date, withJobs: boolean): Promise<JobSet[]> {
  const found = await tenantById(tx, tenantId);
  if (found === null || (await jobSettingsOf(tx, tenantId)) === null) return [];
  const settings = await raiseJobSettings(tx, tenantId, now);
  const [host] = await tx
    .select({ host: hosts.host })
    .from(hosts)
    .where(and(eq(hosts.tenantId, tenantId), eq(hosts.kind, "primary")))
    .orderBy(asc(hosts.host))
    .limit(1);
  const rows = withJobs ? await jobsOf(tx, tenantId) : [];
  const { revision, logLevel } = settings;
  return Array.from({ length: settings.workersEver }, (_, worker) => ({
    tenantId,
    tenant: tenantName(found.tenant.slug, found.cluster),
    host: host?.host ?? "",
    worker,
    revision,
    active: found.tenant.state === "active" && worker < settings.workers,
    logLevel,
    jobs: worker < settings.workers ? rows.filter((row) => row.worker === worker).map(definitionOf) : [],
  }));
}

const definitionOf = (row: JobRow): JobDefinition => ({
  id: row.id,
  name: row.name,
  enabled: row.enabled,
  schedule: row.schedule,
  action: row.action,
  auth: row.auth,
  retry: row.retry,
  repeatable: row.repeatable,
  timeoutMs: row.timeoutMs,
  maxItems: row.maxItems,
  createdAtMs: row.createdAt.getTime(),
  cursor: { epoch: row.cursorEpoch, atMs: row.cursorAt?.getTime() ?? null },
  sealed: { webhook: row.sealedWebhook, client: row.sealedClient },
});
