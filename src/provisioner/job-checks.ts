import { and, asc, desc, eq, gte, isNull, lt, or, sql } from "drizzle-orm";
import { jobLogs, jobRuns, jobSettings } from "../db/schema.ts";
import { JOB_CHECK_MS, JOB_CHECKS, JOB_LINES_PER_TENANT } from "./limits.ts";
import type { ProvisionerPorts } from "./ports.ts";

const DAY_MS = 24 * 60 * 60_000;

/**
 * Looks after the workers of tenants, those first that were not looked after for the longest time: wakes them, since a platform gives an alarm
 * up that failed a few times (one that waits for its next job goes on waiting), and clears away what is older than the tenant keeps it.
 */
export async function checkJobWorkers(ports: ProvisionerPorts): Promise<void> {
  const { db } = ports;
  const nowMs = ports.clock();
  const due = await db
    .select()
    .from(jobSettings)
    .where(or(isNull(jobSettings.checkedAt), lt(jobSettings.checkedAt, new Date(nowMs - JOB_CHECK_MS))))
    .orderBy(sql`${jobSettings.checkedAt} asc nulls first`)
    .limit(JOB_CHECKS);
  for (const { tenantId, workersEver, retentionDays } of due) {
    try {
      await Promise.all(Array.from({ length: workersEver }, (_, worker) => ports.jobWorker(tenantId, worker).wake()));
    } catch {
      ports.log.warn("a job worker did not answer", { tenantId });
    }
    const keptSince = new Date(nowMs - retentionDays * DAY_MS);
    await forgetRuns(ports, tenantId, keptSince);
    await forgetLines(ports, tenantId, keptSince);
    await db
      .update(jobSettings)
      .set({ checkedAt: new Date(nowMs) })
      .where(eq(jobSettings.tenantId, tenantId));
  }
}

/** A run that has not ended stays. */
async function forgetRuns({ db }: ProvisionerPorts, tenantId: string, keptSince: Date): Promise<void> {
  const own = eq(jobRuns.tenantId, tenantId);
  const [kept] = await db
    .select({ seq: jobRuns.seq })
    .from(jobRuns)
    .where(and(own, gte(jobRuns.queuedAt, keptSince)))
    .orderBy(asc(jobRuns.seq))
    .limit(1);
  const before = kept === undefined ? undefined : lt(jobRuns.seq, kept.seq);
  await db.delete(jobRuns).where(and(own, before, lt(jobRuns.endedAt, keptSince)));
}

/** Also those that are younger, of a tenant that has too many. */
async function forgetLines({ db }: ProvisionerPorts, tenantId: string, keptSince: Date): Promise<void> {
  const own = eq(jobLogs.tenantId, tenantId);
  const [kept] = await db
    .select({ seq: jobLogs.seq })
    .from(jobLogs)
    .where(and(own, gte(jobLogs.at, keptSince)))
    .orderBy(asc(jobLogs.seq))
    .limit(1);
  const before = kept === undefined ? undefined : lt(jobLogs.seq, kept.seq);
  await db.delete(jobLogs).where(and(own, before, lt(jobLogs.at, keptSince)));
  const [first] = await db
    .select({ seq: jobLogs.seq })
    .from(jobLogs)
    .where(own)
    .orderBy(desc(jobLogs.seq))
    .offset(JOB_LINES_PER_TENANT - 1)
    .limit(1);
  if (first !== undefined) await db.delete(jobLogs).where(and(own, lt(jobLogs.seq, first.seq)));
}
