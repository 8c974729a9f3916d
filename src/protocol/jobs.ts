import { z } from "zod";

/**
 * Background jobs of a tenant: what the console stores, the provisioner publishes to the tenant's workers (one object each), and the edge is
 * asked to call.
 */

/** Standard five fields, or six with seconds first; more than that is years, which nobody schedules. */
const cronExpression = z.string().min(1).max(120);

export const jobSchedule = z.discriminatedUnion("kind", [
  /** Counted on a grid from the job's creation, so a late run does not shift those after it. */
  z.strictObject({
    kind: z.literal("interval"),
    everySeconds: z
      .number()
      .int()
      .min(1)
      .max(31 * 24 * 3600),
  }),
  /** In the wall-clock time of an IANA time zone. */
  z.strictObject({ kind: z.literal("cron"), expression: cronExpression, timeZone: z.string().max(64).default("UTC") }),
  /** Only when somebody asks for it. */
  z.strictObject({ kind: z.literal("manual") }),
]);
export type JobSchedule = z.infer<typeof jobSchedule>;

const fieldName = z
  .string()
  .max(64)
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, "not the name of a header");
/** Blanks and visible ASCII. */
const fieldValue = z
  .string()
  .max(1_000)
  .regex(/^[\x20-\x7e]*$/, "not the value of a header");
/** What the platform says itself, or what frames a message. */
const RESERVED =
  /^(?:host|connection|content-length|transfer-encoding|upgrade|te|trailer|expect|causeway-.*|job-.*|webhook-.*)$/i;

const request = {
  method: z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]).default("POST"),
  headers: z
    .record(fieldName, fieldValue)
    .refine((all) => Object.keys(all).length <= 20, "at most 20 headers")
    .refine((all) => Object.keys(all).every((name) => !RESERVED.test(name)), "a header that the platform sets itself")
    .default({}),
  /** Null: none; a webhook then gets a JSON description of the run. */
  body: z.string().max(16_384).nullable().default(null),
};
const path = z
  .string()
  .max(2_000)
  .regex(/^\/[\x21-\x7e]*$/, "begins with / and has no blanks");

/** One call, which a run makes for each of its items. `{since}`, `{until}`, `{page}`, `{run}` and `{item}` in path, URL and body are filled in. */
export const jobAction = z.discriminatedUnion("kind", [
  /** A target behind a connector, through the relay. */
  z.strictObject({ kind: z.literal("target"), target: z.string().min(1).max(64), path, ...request }),
  /** A service on the tenant's node, by a path of the tenant's host that leads to it. */
  z.strictObject({ kind: z.literal("service"), service: z.string().min(1).max(64), path, ...request }),
  /** A public address: signed (Standard Webhooks). */
  z.strictObject({ kind: z.literal("webhook"), url: z.string().max(2_000), ...request }),
]);
export type JobAction = z.infer<typeof jobAction>;

/** OAuth 2.0 client credentials (RFC 6749, section 4.4) in front of the calls; the client's secret is kept apart. */
export const jobAuth = z.strictObject({
  kind: z.literal("client-credentials"),
  /** A path: at the same target or service as the action. Else a public https address. */
  tokenUrl: z.string().min(1).max(2_000),
  clientId: z.string().min(1).max(255),
  scope: z.string().max(500).default(""),
});
export type JobAuth = z.infer<typeof jobAuth>;

export const jobLogLevel = z.enum(["debug", "info", "warn", "error"]);
export type JobLogLevel = z.infer<typeof jobLogLevel>;

/** What a worker knows of a job. */
export const jobDefinition = z.object({
  id: z.string().max(64),
  name: z.string().max(64),
  enabled: z.boolean(),
  schedule: jobSchedule,
  action: jobAction,
  auth: jobAuth.nullable(),
  /** Whether 429 and 503 are tried again (G27). */
  retry: z.boolean(),
  /** Whether a POST or PATCH that was cut off by a crash may be sent again. Other methods may anyhow (RFC 9110, section 9.2.2). */
  repeatable: z.boolean(),
  /** Of one call. */
  timeoutMs: z.number().int().min(1_000).max(300_000),
  /** A run that is not done after so many items fails. */
  maxItems: z.number().int().min(1).max(10_000),
  /** The interval's grid begins here; jobs due at the same time run in this order. */
  createdAtMs: z.number(),
  /** Start of the last run that succeeded; null: none has. A reset raises the epoch. */
  cursor: z.object({ epoch: z.number().int().nonnegative(), atMs: z.number().nullable() }),
  /** Signing key of a webhook, secret of a client: sealed under the provisioner's key (context `job:<id>:<use>`). */
  sealed: z.object({ webhook: z.string().nullable(), client: z.string().nullable() }),
});
export type JobDefinition = z.infer<typeof jobDefinition>;
export type JobCursor = JobDefinition["cursor"];

/** All that one worker of a tenant has to do. Older revisions never replace newer ones. */
export const jobSet = z.object({
  tenantId: z.string().max(64),
  /** `slug` or `slug@cluster`. */
  tenant: z.string(),
  /** Host by which the edge finds the tenant. */
  host: z.string(),
  worker: z.number().int().nonnegative(),
  revision: z.number().int().nonnegative(),
  /** False: suspended. Nothing begins, and what runs ends after its current item. */
  active: z.boolean(),
  logLevel: jobLogLevel,
  jobs: z.array(jobDefinition).max(100),
});
export type JobSet = z.infer<typeof jobSet>;

export interface JobWorkerStatus {
  readonly running: {
    readonly jobId: string;
    readonly runId: string;
    readonly item: number;
    readonly stopping: boolean;
  } | null;
  readonly queued: readonly { readonly jobId: string; readonly runId: string }[];
  /** When each job is due next; null: never by itself. */
  readonly nextDueMs: Readonly<Record<string, number | null>>;
}

export type JobRunAsked =
  | { readonly kind: "queued"; readonly runId: string }
  /** It is queued or running already: a job never runs beside itself. */
  | { readonly kind: "busy"; readonly runId: string }
  | { readonly kind: "unknown" }
  | { readonly kind: "inactive" };

export type JobStopAsked =
  | { readonly kind: "stopping"; readonly runId: string }
  | { readonly kind: "withdrawn"; readonly runId: string }
  | { readonly kind: "idle" };

/** Calls of the object of one worker of a tenant. Its name is `jobWorkerName(tenantId, worker)`. */
export interface JobWorkerRpc {
  put(set: JobSet): Promise<{ applied: boolean; revision: number }>;
  /**
   * Lets go of every job that is not in `keep`: no run of it begins here any more, one under way ends after its current item. Answers which
   * of them still run, and how far the others have come. So a job that goes to another worker never runs at both.
   */
  release(
    tenantId: string,
    revision: number,
    keep: readonly string[],
  ): Promise<{ busy: string[]; cursors: Record<string, JobCursor> }>;
  run(jobId: string): Promise<JobRunAsked>;
  stop(jobId: string): Promise<JobStopAsked>;
  status(): Promise<JobWorkerStatus>;
  /** Encrypts a job's secret for its row; `context` says whose it is. */
  seal(context: string, secret: string): Promise<string>;
  /** Goes on with what is due. Needed only where an alarm was lost. */
  wake(): Promise<void>;
}

export const jobWorkerName = (tenantId: string, worker: number): string => `${tenantId}/${worker}`;

/** What a job's worker asks the edge to call for it. */
export const tenantCall = z.object({
  host: z.string().max(253),
  /** The tenant that the host must belong to. */
  tenantId: z.string().max(64),
  jobId: z.string().max(64),
  to: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("target"), target: z.string() }),
    z.object({ kind: z.literal("service"), service: z.string() }),
  ]),
  method: z.string().max(10),
  path: z.string().startsWith("/").max(8_192),
  headers: z.array(z.tuple([z.string(), z.string()])).max(40),
  body: z.string().max(65_536).nullable(),
  timeoutMs: z.number().int().positive().max(300_000),
});
export type TenantCall = z.infer<typeof tenantCall>;

/** An answer, whoever gave it. The body is cut (call-answer.ts). */
export interface CallAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/** Entrypoint of the edge, reachable by binding only: calls with the platform's own rights, past the access rules for visitors. */
export interface TenantCallsRpc {
  call(call: TenantCall): Promise<CallAnswer>;
}
