import { z } from "zod";
import { jobDefinition, jobLogLevel } from "../../protocol/jobs.ts";

/** What a worker of a tenant keeps (docs/storage.md, "Job worker"). Plain data: its transitions are in machine.ts. */

const jobState = z.object({
  definition: jobDefinition,
  /** Null: never by itself. A time that has passed: it is due, and runs when the worker gets to it. */
  nextDueMs: z.number().nullable(),
});
export type JobState = z.infer<typeof jobState>;

export const runTrigger = z.enum(["schedule", "manual"]);
export const runStates = z.enum(["queued", "running", "succeeded", "failed", "stopped"]);

/** One run, as it is recorded; a later version replaces an earlier one. */
export const runRecord = z.object({
  runId: z.string(),
  jobId: z.string(),
  job: z.string(),
  worker: z.number(),
  version: z.number(),
  trigger: runTrigger,
  state: runStates,
  queuedAtMs: z.number(),
  startedAtMs: z.number().nullable(),
  endedAtMs: z.number().nullable(),
  /** The job's cursor when it began. */
  sinceMs: z.number().nullable(),
  /** Calls that succeeded. */
  items: z.number(),
  /** Sum of what the answers' `job-count` said. */
  records: z.number(),
  /** Calls that did not succeed. */
  errors: z.number(),
  /** Calls that were made again. */
  retries: z.number(),
  /** Why it failed or was stopped, for people. */
  reason: z.string().nullable(),
});
export type RunRecord = z.infer<typeof runRecord>;

const activeRun = z.object({
  record: runRecord,
  /** The job as it was when the run began; a change counts from the next run on. */
  definition: jobDefinition,
  /** `ready`: the next item may be called. `calling`: it is under way. `waiting`: it is called again at `notBeforeMs`. */
  phase: z.enum(["ready", "calling", "waiting"]),
  notBeforeMs: z.number(),
  /** Of the item. */
  attempt: z.number(),
  /** What the item before said to ask for next. */
  page: z.string().nullable(),
  interruptions: z.number(),
  /** Why it ends after its current item; null: it goes on. */
  stop: z.enum(["asked", "suspended", "disabled", "removed"]).nullable(),
  lines: z.number(),
});
export type ActiveRun = z.infer<typeof activeRun>;

export const workerState = z.object({
  tenantId: z.string(),
  tenant: z.string(),
  host: z.string(),
  worker: z.number(),
  revision: z.number(),
  active: z.boolean(),
  logLevel: jobLogLevel,
  jobs: z.array(jobState),
  queue: z.array(runRecord),
  run: activeRun.nullable(),
});
export type WorkerState = z.infer<typeof workerState>;

export const emptyWorker = (tenantId: string, worker: number): WorkerState => ({
  tenantId,
  tenant: "",
  host: "",
  worker,
  revision: 0,
  active: false,
  logLevel: "info",
  jobs: [],
  queue: [],
  run: null,
});

export const logLine = z.object({
  id: z.string(),
  atMs: z.number(),
  level: jobLogLevel,
  jobId: z.string(),
  runId: z.string(),
  message: z.string(),
});
export type LogLine = z.infer<typeof logLine>;
