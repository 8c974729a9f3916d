import { eq, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { jobsOf, jobSettingsOf, raiseJobSettings, type JobRow, type JobSettingsRow } from "../db/jobs.ts";
import { enqueueOperation, jobsSubject } from "../db/operations.ts";
import { jobs } from "../db/schema.ts";
import { lockTenant, type TenantRow } from "../db/tenants.ts";
import { jobWorkerName } from "../protocol/jobs.ts";
import { err, ok, type Result } from "../shared/result.ts";
import type { Written } from "./endpoint.ts";
import { fail, notFound, type Failure } from "./failure.ts";
import { viewJob } from "./job-view.ts";
import { MAX_JOBS_CHARACTERS, MAX_JOBS_PER_TENANT } from "./limits.ts";
import { operationLocation, shownOperation } from "./operation-view.ts";
import type { ConsolePorts } from "./ports.ts";

interface Applied {
  readonly action: string;
  readonly subjectId: string;
  readonly details: Record<string, unknown>;
  /** More of the answer. */
  readonly shown: (settings: JobSettingsRow) => Record<string, unknown>;
  readonly headers?: Record<string, string>;
}

/**
 * Changes a tenant's jobs: under the lock of the tenant's row writes what is wanted, and enqueues the operation that tells its workers. Not held
 * up by what else is under way for the tenant.
 */
export async function changeJobs(
  tx: Db,
  { params, now }: { params: { tenant: string }; now: Date },
  apply: (tenant: TenantRow) => Promise<Result<Applied, Failure>>,
): Promise<Result<Written, Failure>> {
  const found = await lockTenant(tx, params.tenant);
  if (found === null) return notFound("tenant", params.tenant);
  const { id: tenantId, state } = found.tenant;
  if (state !== "active" && state !== "suspended")
    return fail("conflict", `The tenant is ${state}; this needs it to be active or suspended.`);
  await raiseJobSettings(tx, tenantId, now);
  const applied = await apply(found.tenant);
  if (!applied.ok) return applied;
  const bounded = await withinBounds(tx, tenantId);
  if (!bounded.ok) return bounded;
  const wanted = { kind: "jobs-publish", subjectId: jobsSubject(tenantId), tenantId, now } as const;
  const operation = await enqueueOperation(tx, wanted);
  const settings = await jobSettingsOf(tx, tenantId);
  if (settings === null) throw new Error("settings just written are not there");
  const { action, subjectId, details, shown, headers } = applied.value;
  return ok({
    body: { operation: await shownOperation(tx, operation), ...shown(settings) },
    headers: { location: operationLocation(operation), ...headers },
    audit: { action, subjectId, tenantId, details },
    operation,
  });
}

/** A worker keeps its jobs in one value. */
async function withinBounds(tx: Db, tenantId: string): Promise<Result<null, Failure>> {
  const all = await jobsOf(tx, tenantId);
  if (all.length > MAX_JOBS_PER_TENANT) return fail("conflict", `A tenant has at most ${MAX_JOBS_PER_TENANT} jobs.`);
  const size = JSON.stringify(all.map((row) => viewJob(row, null))).length;
  return size > MAX_JOBS_CHARACTERS
    ? fail("conflict", `All jobs of a tenant together have at most ${MAX_JOBS_CHARACTERS} characters.`)
    : ok(null);
}

/** Writes a change of a job's row, under a new revision. */
export async function updateJob(tx: Db, id: string, set: Partial<JobRow>, now: Date): Promise<JobRow> {
  const [row] = await tx
    .update(jobs)
    .set({ ...set, revision: sql`nextval('control.revision')`, updatedAt: now })
    .where(eq(jobs.id, id))
    .returning();
  if (row === undefined) throw new Error("a job just read is not there");
  return row;
}

/** Asks the object of a worker of a tenant. */
export async function askWorker<T>(
  { ports, tenantId, worker }: { ports: ConsolePorts; tenantId: string; worker: number },
  ask: (worker: ReturnType<ConsolePorts["jobWorker"]>) => Promise<T>,
): Promise<Result<T, Failure>> {
  try {
    return ok(await ask(ports.jobWorker(jobWorkerName(tenantId, worker))));
  } catch {
    ports.log.warn("a job worker did not answer", { tenantId, worker });
    return err({ code: "not-available", detail: "The job's worker does not answer right now. Try again shortly." });
  }
}

/** Encrypts a job's secret: the provisioner has the key, the console does not. */
export const sealFor = (
  ports: ConsolePorts,
  tenantId: string,
  jobId: string,
  use: "webhook" | "client",
  secret: string,
): Promise<Result<string, Failure>> =>
  askWorker({ ports, tenantId, worker: 0 }, (worker) => worker.seal(`job:${jobId}:${use}`, secret));
