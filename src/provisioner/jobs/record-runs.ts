import { and, eq, isNull, lt, or, sql } from "drizzle-orm";
import { sqlState, type Db } from "../../db/client.ts";
import { jobLogs, jobRuns, jobs } from "../../db/schema.ts";
import type { JobCursor } from "../../protocol/jobs.ts";
import type { RunRecord } from "./state.ts";
import type { Untold } from "./worker-store.ts";

const FOREIGN_KEY_VIOLATION = "23503";
const dateOf = (ms: number | null): Date | null => (ms === null ? null : new Date(ms));

/**
 * Writes what a worker has to tell, all of it or nothing. Telling it again changes nothing: the newer version of a run stays, a line has an id.
 * "gone": the tenant is, and nobody wants to know.
 */
export async function recordRuns(
  db: Db,
  tenantId: string,
  untold: Untold,
  cursors: ReadonlyMap<string, JobCursor>,
): Promise<"told" | "gone"> {
  try {
    await db.transaction(async (tx) => {
      if (untold.records.length > 0) {
        await tx
          .insert(jobRuns)
          .values(untold.records.map((record) => rowOf(tenantId, record)))
          .onConflictDoUpdate({ target: jobRuns.id, set: NEWER, setWhere: sql`excluded.version > ${jobRuns.version}` });
        for (const { jobId } of untold.records) await moveCursor(tx, tenantId, jobId, cursors.get(jobId));
      }
      if (untold.lines.length > 0)
        await tx
          .insert(jobLogs)
          .values(untold.lines.map(({ atMs, ...line }) => ({ ...line, tenantId, at: new Date(atMs) })))
          .onConflictDoNothing();
    });
    return "told";
  } catch (error) {
    if (sqlState(error) === FOREIGN_KEY_VIOLATION) return "gone";
    throw error;
  }
}

/** How far a job has come; never back, and not over a reset that the worker has not heard of yet. */
export async function moveCursor(
  tx: Db,
  tenantId: string,
  jobId: string,
  cursor: JobCursor | undefined,
): Promise<void> {
  if (cursor === undefined || cursor.atMs === null) return;
  const at = new Date(cursor.atMs);
  await tx
    .update(jobs)
    .set({ cursorAt: at })
    .where(
      and(
        eq(jobs.id, jobId),
        eq(jobs.tenantId, tenantId),
        eq(jobs.cursorEpoch, cursor.epoch),
        or(isNull(jobs.cursorAt), lt(jobs.cursorAt, at)),
      ),
    );
}

const excluded = (name: string) => sql.raw(`excluded.${name}`);
const NEWER = {
  version: excluded("version"),
  state: excluded("state"),
  startedAt: excluded("started_at"),
  endedAt: excluded("ended_at"),
  sinceAt: excluded("since_at"),
  items: excluded("items"),
  records: excluded("records"),
  errors: excluded("errors"),
  retries: excluded("retries"),
  reason: excluded("reason"),
};

const rowOf = (tenantId: string, record: RunRecord): typeof jobRuns.$inferInsert => ({
  id: record.runId,
  tenantId,
  jobId: record.jobId,
  job: record.job,
  worker: record.worker,
  version: record.version,
  trigger: record.trigger,
  state: record.state,
  queuedAt: new Date(record.queuedAtMs),
  startedAt: dateOf(record.startedAtMs),
  endedAt: dateOf(record.endedAtMs),
  sinceAt: dateOf(record.sinceMs),
  items: record.items,
  records: record.records,
  errors: record.errors,
  retries: record.retries,
  reason: record.reason,
});
