import { z } from "@hono/zod-openapi";
import type { JobRow, JobSettingsRow } from "../db/jobs.ts";
import { DEFAULT_JOB_SETTINGS } from "../db/jobs.ts";
import { JOB_RUN_STATES } from "../db/schema.ts";
import type { jobLogs, jobRuns } from "../db/schema.ts";
import { scheduleProblem } from "../policy/schedule.ts";
import { jobAction, jobAuth, jobLogLevel, jobSchedule, type JobWorkerStatus } from "../protocol/jobs.ts";
import { MAX_JOB_WORKERS } from "./limits.ts";
import { label } from "./names.ts";

const time = z.iso.datetime();
const iso = (at: Date): string => at.toISOString();
const isoOrNull = (at: Date | null): string | null => at?.toISOString() ?? null;

/** A public address or one inside; which may be called is decided where the call is made, by its addresses at that moment. */
function isAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  const isPlain = /^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])$/.test(hostname);
  return (protocol === "https:" || protocol === "http:") && isPlain && username === "" && password === "";
}

const schedule = jobSchedule.superRefine((value, context) => {
  const problem = scheduleProblem(value);
  if (problem !== null) context.addIssue({ code: "custom", message: problem });
});
const action = jobAction.refine((value) => value.kind !== "webhook" || isAddress(value.url), "url: an http(s) address");
const auth = jobAuth.refine(
  ({ tokenUrl }) => tokenUrl.startsWith("/") || isAddress(tokenUrl),
  "tokenUrl: a path, or an http(s) address",
);

const fields = {
  worker: z
    .number()
    .int()
    .min(0)
    .max(MAX_JOB_WORKERS - 1)
    .openapi({ description: "Which of the tenant's workers runs it, from 0" }),
  enabled: z.boolean(),
  schedule,
  action,
  auth: auth.nullable().openapi({ description: "Access tokens by OAuth 2.0 client credentials, renewed during a run" }),
  retry: z
    .boolean()
    .openapi({ description: "Whether 429 and 503 are tried again: 500 ms, then twice as long, 4 attempts" }),
  repeatable: z
    .boolean()
    .openapi({ description: "Whether a POST or PATCH that was cut off by a crash may be sent again" }),
  timeoutSeconds: z.number().int().min(1).max(300).openapi({ description: "Of one call" }),
  maxItems: z.number().int().min(1).max(10_000).openapi({ description: "Calls of one run" }),
};
const clientSecret = z
  .string()
  .min(1)
  .max(1_000)
  .openapi({ description: "Of the client that `auth` names; never shown again" });

export const newJob = z
  .strictObject({
    name: label,
    worker: fields.worker.default(0),
    enabled: fields.enabled.default(true),
    schedule,
    action,
    auth: fields.auth.default(null),
    clientSecret: clientSecret.optional(),
    retry: fields.retry.default(true),
    repeatable: fields.repeatable.default(false),
    timeoutSeconds: fields.timeoutSeconds.default(30),
    maxItems: fields.maxItems.default(1_000),
  })
  .openapi("NewJob");

export const jobChange = z
  .strictObject({
    ...fields,
    clientSecret,
    cursor: time.nullable().openapi({ description: "Where the next run begins; null: at the beginning" }),
  })
  .partial()
  .openapi("JobChange");

export const jobView = z
  .object({
    id: z.string(),
    name: z.string(),
    ...fields,
    schedule: jobSchedule,
    action: jobAction,
    auth: jobAuth.nullable(),
    hasClientSecret: z.boolean(),
    problem: z.string().nullable().openapi({ description: "Why it can't run; null: it can" }),
    cursor: time
      .nullable()
      .openapi({ description: "When the last run that succeeded began: the next one starts there" }),
    revision: z.number().int(),
    createdAt: time,
    updatedAt: time,
  })
  .openapi("Job");

/** A job that is bound to a worker that does not exist is shown as such, and runs as soon as there is one (G23). */
export function jobProblem(row: JobRow, settings: JobSettingsRow | null): string | null {
  const { workers } = settings ?? DEFAULT_JOB_SETTINGS;
  if (row.worker >= workers)
    return `worker ${row.worker} does not exist: the tenant has ${workers}, counted from 0; it does not run`;
  return row.auth !== null && row.sealedClient === null ? "the client's secret is not set" : null;
}

export const viewJob = (row: JobRow, settings: JobSettingsRow | null): z.input<typeof jobView> => ({
  id: row.id,
  name: row.name,
  worker: row.worker,
  enabled: row.enabled,
  schedule: row.schedule,
  action: row.action,
  auth: row.auth,
  hasClientSecret: row.sealedClient !== null,
  retry: row.retry,
  repeatable: row.repeatable,
  timeoutSeconds: row.timeoutMs / 1_000,
  maxItems: row.maxItems,
  problem: jobProblem(row, settings),
  cursor: isoOrNull(row.cursorAt),
  revision: row.revision,
  createdAt: iso(row.createdAt),
  updatedAt: iso(row.updatedAt),
});

const settingsFields = {
  workers: z
    .number()
    .int()
    .min(1)
    .max(MAX_JOB_WORKERS)
    .openapi({ description: "Jobs of one worker run one after another, those of different ones side by side" }),
  logLevel: z.enum(jobLogLevel.options).openapi({ description: "Lines below it are not kept" }),
  retentionDays: z.number().int().min(1).max(365).openapi({ description: "Runs and log lines are kept so long" }),
};
export const jobSettingsChange = z.strictObject(settingsFields).partial().openapi("JobSettingsChange");
export const jobSettingsView = z.object({ ...settingsFields, revision: z.number().int() }).openapi("JobSettings");

export function viewJobSettings(row: JobSettingsRow | null): z.input<typeof jobSettingsView> {
  const { workers, logLevel, retentionDays, revision } = row ?? DEFAULT_JOB_SETTINGS;
  return { workers, logLevel, retentionDays, revision };
}

export const jobWorkerView = z
  .object({
    worker: z.number().int(),
    running: z
      .object({ jobId: z.string(), runId: z.string(), item: z.number().int(), stopping: z.boolean() })
      .nullable(),
    queued: z.array(z.object({ jobId: z.string(), runId: z.string() })),
    next: z
      .array(z.object({ jobId: z.string(), at: time }))
      .openapi({ description: "Jobs that are due by themselves, the first one first" }),
  })
  .openapi("JobWorker");

export const viewJobWorker = (worker: number, status: JobWorkerStatus): z.input<typeof jobWorkerView> => ({
  worker,
  running: status.running,
  queued: [...status.queued],
  next: Object.entries(status.nextDueMs)
    .flatMap(([jobId, dueMs]) => (dueMs === null ? [] : [{ jobId, at: new Date(dueMs).toISOString() }]))
    .toSorted((a, b) => (a.at < b.at ? -1 : 1)),
});

export const jobRunView = z
  .object({
    id: z.string(),
    jobId: z.string(),
    job: z.string(),
    worker: z.number().int(),
    trigger: z.enum(["schedule", "manual"]),
    state: z.enum(JOB_RUN_STATES),
    queuedAt: time,
    startedAt: time.nullable(),
    endedAt: time.nullable(),
    since: time.nullable().openapi({ description: "The job's cursor when it began" }),
    items: z.number().int().openapi({ description: "Calls that succeeded" }),
    records: z.number().int().openapi({ description: "Sum of what the answers said in `job-count`" }),
    errors: z.number().int().openapi({ description: "Calls that did not succeed" }),
    retries: z.number().int().openapi({ description: "Calls that were made again" }),
    reason: z.string().nullable().openapi({ description: "Why it failed or was stopped" }),
  })
  .openapi("JobRun");

export const viewJobRun = (row: typeof jobRuns.$inferSelect): z.input<typeof jobRunView> => ({
  id: row.id,
  jobId: row.jobId,
  job: row.job,
  worker: row.worker,
  trigger: row.trigger,
  state: row.state,
  queuedAt: iso(row.queuedAt),
  startedAt: isoOrNull(row.startedAt),
  endedAt: isoOrNull(row.endedAt),
  since: isoOrNull(row.sinceAt),
  items: row.items,
  records: row.records,
  errors: row.errors,
  retries: row.retries,
  reason: row.reason,
});

export const jobLogView = z
  .object({ at: time, level: jobLogLevel, jobId: z.string(), runId: z.string(), message: z.string() })
  .openapi("JobLogLine");

export const viewJobLog = (row: typeof jobLogs.$inferSelect): z.input<typeof jobLogView> => ({
  at: iso(row.at),
  level: row.level,
  jobId: row.jobId,
  runId: row.runId,
  message: row.message,
});
