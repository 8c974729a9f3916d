import { publishedJobSets } from "../../db/jobs.ts";
import type { JobCursor, JobSet } from "../../protocol/jobs.ts";
import { later } from "../jobs/machine.ts";
import { moveCursor } from "../jobs/record-runs.ts";
import { DONE } from "../step.ts";
import type { Step, StepContext } from "../step.ts";

/**
 * Every worker of the tenant knows its jobs, whether it may run them, and nothing of the others'. A job that changes its worker is let go of by
 * the old one first, with how far it has come, so that it never runs at both.
 */
export const publishJobs: Step = async (context) => {
  const { ports, operation, commit } = context;
  const sets = await setsOf(context, true);
  const tenantId = operation.tenantId ?? "";
  const released = await Promise.all(
    sets.map((set) =>
      ports.jobWorker(tenantId, set.worker).release(
        tenantId,
        set.revision,
        set.jobs.map(({ id }) => id),
      ),
    ),
  );
  const cursors = newest(released.flatMap((one) => Object.entries(one.cursors)));
  await commit(async (tx) => {
    for (const [jobId, cursor] of cursors) await moveCursor(tx, tenantId, jobId, cursor);
  });
  const busy = new Set(released.flatMap((one) => one.busy));
  await Promise.all(sets.map((set) => ports.jobWorker(tenantId, set.worker).put(ready(set, busy, cursors))));
  const wanted = sets.flatMap((set) => set.jobs).filter(({ id }) => busy.has(id));
  if (wanted.length === 0) return DONE;
  const names = wanted.map(({ name }) => name).join(", ");
  return { kind: "wait", reason: `the worker that had it before has not finished its current item: ${names}` };
};

/** A tenant that goes has no jobs left, and none of them runs any more. */
export const removeJobs: Step = async (context) => {
  const { ports, operation } = context;
  const sets = await setsOf(context, false);
  const workers = sets.map((set) => ({ set, worker: ports.jobWorker(operation.tenantId ?? "", set.worker) }));
  await Promise.all(workers.map(({ set, worker }) => worker.put(set)));
  const statuses = await Promise.all(workers.map(({ worker }) => worker.status()));
  return statuses.some(({ running }) => running !== null)
    ? { kind: "wait", reason: "a job has not finished its current item" }
    : DONE;
};

const setsOf = ({ ports, operation, commit }: StepContext, withJobs: boolean): Promise<JobSet[]> =>
  commit((tx) => publishedJobSets(tx, operation.tenantId ?? "", new Date(ports.clock()), withJobs));

/** What a worker gets now: without jobs that still run elsewhere, and as far as they have come. */
const ready = (set: JobSet, busy: ReadonlySet<string>, cursors: ReadonlyMap<string, JobCursor>): JobSet => ({
  ...set,
  jobs: set.jobs
    .filter(({ id }) => !busy.has(id))
    .map((job) => ({ ...job, cursor: later(cursors.get(job.id) ?? job.cursor, job.cursor) })),
});

function newest(entries: readonly (readonly [jobId: string, cursor: JobCursor])[]): Map<string, JobCursor> {
  const all = new Map<string, JobCursor>();
  for (const [jobId, cursor] of entries) all.set(jobId, later(all.get(jobId) ?? cursor, cursor));
  return all;
}
