import { z } from "@hono/zod-openapi";
import { eq, sql } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { findJob, jobsOf, jobSettingsOf, type JobRow } from "../../db/jobs.ts";
import { jobs, jobSettings } from "../../db/schema.ts";
import { findTenant } from "../../db/tenants.ts";
import { newId } from "../../shared/ids.ts";
import { ok, type Result } from "../../shared/result.ts";
import { askWorker, changeJobs, sealFor, updateJob } from "../change-jobs.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound, type Failure } from "../failure.ts";
import {
  jobChange,
  jobProblem,
  jobSettingsChange,
  jobSettingsView,
  jobView,
  jobWorkerView,
  newJob,
  viewJob,
  viewJobSettings,
  viewJobWorker,
} from "../job-view.ts";
import type { ConsolePorts } from "../ports.ts";
import type { ConsoleApp } from "../respond.ts";
import { operationView } from "../views.ts";
import { tenantParams } from "./tenants.ts";

export const jobParams = tenantParams.extend({ job: z.string().openapi({ description: "name or id" }) });

const signingSecret = z
  .string()
  .openapi({ description: "Verifies the webhook (Standard Webhooks); shown this once", example: "whsec_..." });
const startedWithSecret = z
  .object({ operation: operationView, job: jobView, signingSecret: signingSecret.optional() })
  .openapi("JobOperation");
const settingsStarted = z
  .object({ operation: operationView, settings: jobSettingsView })
  .openapi("JobSettingsOperation");

/** Background jobs of a tenant. Its workers know of a change within 10 s, most of them within one. */
export function jobRoutes(app: ConsoleApp): void {
  const tag = "jobs";
  const show = { ...NO_INPUT, method: "get", tag, scope: "read", status: 200, refusals: ["not-found"] } as const;
  const change = {
    ...NO_INPUT,
    tag,
    scope: "write",
    status: 202,
    refusals: ["not-found", "conflict", "precondition-failed"],
  } as const;

  read(
    app,
    {
      ...show,
      path: "/tenants/{tenant}/jobs",
      summary: "List its jobs, those that can't run with the reason",
      params: tenantParams,
      answer: z.object({ items: z.array(jobView) }),
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const settings = await jobSettingsOf(db, found.tenant.id);
      const rows = await jobsOf(db, found.tenant.id);
      return ok({ body: { items: rows.map((row) => viewJob(row, settings)) } });
    },
  );

  read(
    app,
    { ...show, path: "/tenants/{tenant}/jobs/{job}", summary: "Show a job", params: jobParams, answer: jobView },
    async (db, { params }) => {
      const found = await jobOf(db, params);
      if (!found.ok) return found;
      const settings = await jobSettingsOf(db, found.value.tenantId);
      return ok({ body: viewJob(found.value, settings), headers: { etag: etagOf(found.value.revision) } });
    },
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/jobs",
      summary: "Create a job",
      params: tenantParams,
      body: newJob,
      answer: startedWithSecret,
    },
    (tx, call) =>
      changeJobs(tx, call, async ({ id: tenantId }) => {
        const { clientSecret, timeoutSeconds, ...rest } = call.body;
        const id = newId("job");
        const wrong = mismatch(rest.action.kind, rest.auth);
        if (wrong !== null) return fail("bad-request", wrong);
        if (rest.auth !== null && clientSecret === undefined)
          return fail("bad-request", "body.clientSecret: needed where auth is set");
        const sealed = await sealedSecrets(call.ports, tenantId, id, rest.action.kind === "webhook", clientSecret);
        if (!sealed.ok) return sealed;
        const { shown, ...set } = sealed.value;
        const values = { id, tenantId, ...rest, timeoutMs: timeoutSeconds * 1_000, createdAt: call.now, ...set };
        const [row] = await tx
          .insert(jobs)
          .values({ ...values, updatedAt: call.now })
          .returning();
        if (row === undefined) throw new Error("no row came back");
        return ok({ ...told("job.create", row, { schedule: row.schedule, action: row.action.kind }, shown) });
      }),
  );

  write(
    app,
    {
      ...change,
      method: "patch",
      path: "/tenants/{tenant}/jobs/{job}",
      summary: "Change a job; a run under way goes on as it began, unless the job is switched off",
      params: jobParams,
      body: jobChange,
      answer: startedWithSecret,
    },
    (tx, call, ifMatch) =>
      changeJobs(tx, call, async ({ id: tenantId }) => {
        const row = await findJob(tx, tenantId, call.params.job);
        if (row === null) return notFound("job", call.params.job);
        const matched = ifMatch(etagOf(row.revision));
        if (!matched.ok) return matched;
        const { clientSecret, timeoutSeconds, cursor, ...rest } = call.body;
        const action = rest.action ?? row.action;
        const auth = rest.auth === undefined ? row.auth : rest.auth;
        const wrong = mismatch(action.kind, auth);
        if (wrong !== null) return fail("bad-request", wrong);
        const needsKey = action.kind === "webhook" && row.sealedWebhook === null;
        const sealed = await sealedSecrets(call.ports, tenantId, row.id, needsKey, clientSecret);
        if (!sealed.ok) return sealed;
        const { shown, ...set } = sealed.value;
        const moved =
          cursor === undefined
            ? {}
            : { cursorAt: cursor === null ? null : new Date(cursor), cursorEpoch: row.cursorEpoch + 1 };
        const timeout = timeoutSeconds === undefined ? {} : { timeoutMs: timeoutSeconds * 1_000 };
        const present = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
        const changed = await updateJob(tx, row.id, { ...present, ...timeout, ...moved, ...set }, call.now);
        return ok(told("job.change", changed, { changed: Object.keys(call.body) }, shown));
      }),
  );

  write(
    app,
    {
      ...change,
      method: "delete",
      path: "/tenants/{tenant}/jobs/{job}",
      summary: "Delete a job; a run under way ends after its current item, its runs stay on record",
      params: jobParams,
      answer: z.object({ operation: operationView }),
    },
    (tx, call, ifMatch) =>
      changeJobs(tx, call, async ({ id: tenantId }) => {
        const row = await findJob(tx, tenantId, call.params.job);
        if (row === null) return notFound("job", call.params.job);
        const matched = ifMatch(etagOf(row.revision));
        if (!matched.ok) return matched;
        await tx.delete(jobs).where(eq(jobs.id, row.id));
        return ok({ action: "job.delete", subjectId: row.id, details: { job: row.name }, shown: () => ({}) });
      }),
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/jobs/{job}/signing-secret",
      summary: "Give its webhook a new signing secret, shown this once; the old one ends at once",
      params: jobParams,
      answer: startedWithSecret,
    },
    (tx, call) =>
      changeJobs(tx, call, async ({ id: tenantId }) => {
        const row = await findJob(tx, tenantId, call.params.job);
        if (row === null) return notFound("job", call.params.job);
        if (row.action.kind !== "webhook") return fail("conflict", "The job calls no webhook.");
        const sealed = await sealedSecrets(call.ports, tenantId, row.id, true, undefined);
        if (!sealed.ok) return sealed;
        const { shown, ...set } = sealed.value;
        return ok(told("job.signing-secret", await updateJob(tx, row.id, set, call.now), {}, shown));
      }),
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/jobs/{job}/run",
      summary: "Run a job now, or as soon as its worker has finished what it is at",
      params: jobParams,
      answer: z.object({ runId: z.string() }),
      refusals: ["not-found", "conflict", "not-available"],
    },
    async (tx, { ports, params }) => {
      const found = await jobOf(tx, params);
      if (!found.ok) return found;
      const { id, tenantId, worker, name } = found.value;
      const problem = jobProblem(found.value, await jobSettingsOf(tx, tenantId));
      if (problem !== null) return fail("conflict", `The job can't run: ${problem}.`);
      const asked = await askWorker({ ports, tenantId, worker }, (one) => one.run(id));
      if (!asked.ok) return asked;
      const { value } = asked;
      if (value.kind === "busy") return fail("conflict", `Run ${value.runId} of the job has not ended yet.`);
      if (value.kind === "inactive") return fail("conflict", "The job is switched off, or its tenant is suspended.");
      if (value.kind === "unknown")
        return fail("conflict", "The worker has not heard of the job yet. Try again in a moment.");
      const { runId } = value;
      return ok({
        body: { runId },
        headers: { location: `/api/v1/tenants/${params.tenant}/job-runs/${runId}` },
        audit: { action: "job.run", subjectId: id, tenantId, details: { job: name, runId } },
      });
    },
  );

  write(
    app,
    {
      ...change,
      method: "post",
      path: "/tenants/{tenant}/jobs/{job}/stop",
      summary: "Stop its run: the current item is finished first; a run that waits is withdrawn",
      params: jobParams,
      answer: z.object({ runId: z.string(), finishesItem: z.boolean() }),
      refusals: ["not-found", "conflict", "not-available"],
    },
    async (tx, { ports, params }) => {
      const found = await jobOf(tx, params);
      if (!found.ok) return found;
      const { id, tenantId, worker, name } = found.value;
      const asked = await askWorker({ ports, tenantId, worker }, (one) => one.stop(id));
      if (!asked.ok) return asked;
      const { value } = asked;
      if (value.kind === "idle") return fail("conflict", "No run of the job waits or is under way.");
      const { runId } = value;
      return ok({
        body: { runId, finishesItem: value.kind === "stopping" },
        audit: { action: "job.stop", subjectId: id, tenantId, details: { job: name, runId } },
      });
    },
  );

  read(
    app,
    {
      ...show,
      path: "/tenants/{tenant}/job-workers",
      summary: "Show the settings of its workers, and what each is at",
      params: tenantParams,
      answer: z.object({ settings: jobSettingsView, items: z.array(jobWorkerView) }),
      refusals: ["not-found", "not-available"],
    },
    async (db, { ports, params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const tenantId = found.tenant.id;
      const settings = viewJobSettings(await jobSettingsOf(db, tenantId));
      const all = await Promise.all(
        Array.from({ length: settings.workers }, (_, worker) =>
          askWorker({ ports, tenantId, worker }, async (one) => viewJobWorker(worker, await one.status())),
        ),
      );
      const failed = all.find((one) => !one.ok);
      if (failed !== undefined && !failed.ok) return failed;
      const items = all.flatMap((one) => (one.ok ? [one.value] : []));
      return ok({ body: { settings, items }, headers: { etag: etagOf(settings.revision) } });
    },
  );

  write(
    app,
    {
      ...change,
      method: "patch",
      path: "/tenants/{tenant}/job-workers",
      summary: "Change how many workers it has, and how long its runs are kept",
      params: tenantParams,
      body: jobSettingsChange,
      answer: settingsStarted,
      refusals: ["not-found", "conflict"],
    },
    (tx, call) =>
      changeJobs(tx, call, async ({ id: tenantId }) => {
        const { workers, logLevel, retentionDays } = call.body;
        await tx
          .update(jobSettings)
          .set({
            updatedAt: call.now,
            ...(workers !== undefined && {
              workers,
              workersEver: sql`greatest(${jobSettings.workersEver}, ${workers})`,
            }),
            ...(logLevel !== undefined && { logLevel }),
            ...(retentionDays !== undefined && { retentionDays }),
          })
          .where(eq(jobSettings.tenantId, tenantId));
        return ok({
          action: "job.settings",
          subjectId: tenantId,
          details: { ...call.body },
          shown: (settings) => ({ settings: viewJobSettings(settings) }),
        });
      }),
  );
}

export async function jobOf(
  db: Db,
  { tenant, job }: { readonly tenant: string; readonly job: string },
): Promise<Result<JobRow, Failure>> {
  const found = await findTenant(db, tenant);
  if (found === null) return notFound("tenant", tenant);
  const row = await findJob(db, found.tenant.id, job);
  return row === null ? notFound("job", job) : ok(row);
}

function mismatch(kind: JobRow["action"]["kind"], auth: JobRow["auth"]): string | null {
  return kind === "webhook" && auth?.tokenUrl.startsWith("/") === true
    ? "body.auth.tokenUrl: of a webhook it is a whole address, not a path"
    : null;
}

/** The columns to set, and the signing secret that is shown once. */
async function sealedSecrets(
  ports: ConsolePorts,
  tenantId: string,
  jobId: string,
  newKey: boolean,
  clientSecret: string | undefined,
): Promise<Result<{ shown: { signingSecret?: string }; sealedWebhook?: string; sealedClient?: string }, Failure>> {
  const signing = newKey ? newSigningSecret() : null;
  const webhook = signing === null ? null : await sealFor(ports, tenantId, jobId, "webhook", signing);
  if (webhook !== null && !webhook.ok) return webhook;
  const client = clientSecret === undefined ? null : await sealFor(ports, tenantId, jobId, "client", clientSecret);
  if (client !== null && !client.ok) return client;
  return ok({
    shown: signing === null ? {} : { signingSecret: signing },
    ...(webhook !== null && { sealedWebhook: webhook.value }),
    ...(client !== null && { sealedClient: client.value }),
  });
}

/** 256 random bits. */
const newSigningSecret = (): string =>
  `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))))}`;

const told = (
  action: string,
  row: JobRow,
  details: Record<string, unknown>,
  shown: { readonly signingSecret?: string },
) => ({
  action,
  subjectId: row.id,
  details: { job: row.name, ...details },
  shown: (settings: Parameters<typeof viewJob>[1]) => ({ job: viewJob(row, settings), ...shown }),
  headers: { etag: etagOf(row.revision) },
});
