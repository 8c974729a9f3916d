import { sql } from "drizzle-orm";
import { bigint, bigserial, boolean, check, index, integer, jsonb, text, unique } from "drizzle-orm/pg-core";
import type { JobAction, JobAuth, JobLogLevel, JobSchedule } from "../../protocol/jobs.ts";
import { at, control, createdAt, revision, updatedAt } from "./columns.ts";
import { tenantId } from "./tenants.ts";

/** Workers of a tenant's background jobs; a tenant without a row never had a job. */
export const jobSettings = control.table(
  "job_settings",
  {
    tenantId: tenantId().primaryKey(),
    /** Rises with every publication. */
    revision: revision(),
    workers: integer("workers").notNull().default(1),
    /** The most that it ever had: the others have to hear that they are gone. */
    workersEver: integer("workers_ever").notNull().default(1),
    logLevel: text("log_level").$type<JobLogLevel>().notNull().default("info"),
    /** Runs and log lines are kept so long. */
    retentionDays: integer("retention_days").notNull().default(30),
    /** When the sweep last woke its workers. */
    checkedAt: at("checked_at"),
    updatedAt: updatedAt(),
  },
  (table) => [check("job_settings_workers", sql`${table.workers} between 1 and ${table.workersEver}`)],
);

export const jobs = control.table(
  "jobs",
  {
    id: text("id").primaryKey(),
    tenantId: tenantId(),
    name: text("name").notNull(),
    /** From 0. One that does not exist: the job is shown as having a problem, and does not run. */
    worker: integer("worker").notNull().default(0),
    enabled: boolean("enabled").notNull().default(true),
    schedule: jsonb("schedule").$type<JobSchedule>().notNull(),
    action: jsonb("action").$type<JobAction>().notNull(),
    auth: jsonb("auth").$type<JobAuth>(),
    retry: boolean("retry").notNull().default(true),
    repeatable: boolean("repeatable").notNull().default(false),
    timeoutMs: integer("timeout_ms").notNull(),
    maxItems: integer("max_items").notNull(),
    /** Sealed under the provisioner's CREDENTIAL_KEY, which the console does not have: signing key of a webhook, secret of the client. */
    sealedWebhook: text("sealed_webhook"),
    sealedClient: text("sealed_client"),
    /** Start of the last run that succeeded, as its worker said. A reset raises the epoch. */
    cursorAt: at("cursor_at"),
    cursorEpoch: integer("cursor_epoch").notNull().default(0),
    revision: revision(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (table) => [unique("jobs_name_per_tenant").on(table.tenantId, table.name)],
);

export const JOB_RUN_STATES = ["queued", "running", "succeeded", "failed", "stopped"] as const;

/** One row a run, by its worker; it outlives its job. A later version replaces an earlier one. */
export const jobRuns = control.table(
  "job_runs",
  {
    id: text("id").primaryKey(),
    seq: bigserial("seq", { mode: "number" }).notNull(),
    tenantId: tenantId(),
    jobId: text("job_id").notNull(),
    /** Its name then. */
    job: text("job").notNull(),
    worker: integer("worker").notNull(),
    version: integer("version").notNull(),
    trigger: text("trigger", { enum: ["schedule", "manual"] }).notNull(),
    state: text("state", { enum: JOB_RUN_STATES }).notNull(),
    queuedAt: at("queued_at").notNull(),
    startedAt: at("started_at"),
    endedAt: at("ended_at"),
    /** The job's cursor when it began. */
    sinceAt: at("since_at"),
    /** Calls that succeeded, what their answers counted, calls that did not, calls that were made again. */
    items: integer("items").notNull(),
    records: bigint("records", { mode: "number" }).notNull(),
    errors: integer("errors").notNull(),
    retries: integer("retries").notNull(),
    reason: text("reason"),
  },
  (table) => [
    index("job_runs_tenant_idx").on(table.tenantId, table.seq),
    index("job_runs_job_idx").on(table.jobId, table.seq),
  ],
);

export const jobLogs = control.table(
  "job_logs",
  {
    id: text("id").primaryKey(),
    seq: bigserial("seq", { mode: "number" }).notNull(),
    tenantId: tenantId(),
    jobId: text("job_id").notNull(),
    runId: text("run_id").notNull(),
    at: at("at").notNull(),
    level: text("level").$type<JobLogLevel>().notNull(),
    message: text("message").notNull(),
  },
  (table) => [
    index("job_logs_tenant_idx").on(table.tenantId, table.seq),
    index("job_logs_run_idx").on(table.runId, table.seq),
  ],
);
