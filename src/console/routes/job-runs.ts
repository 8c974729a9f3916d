import { z } from "@hono/zod-openapi";
import { and, desc, eq, inArray, lt } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { findJob } from "../../db/jobs.ts";
import { JOB_RUN_STATES, jobLogs, jobRuns } from "../../db/schema.ts";
import { findTenant } from "../../db/tenants.ts";
import { jobLogLevel } from "../../protocol/jobs.ts";
import { ok } from "../../shared/result.ts";
import { NO_INPUT, read } from "../endpoint.ts";
import { notFound } from "../failure.ts";
import { jobLogView, jobRunView, viewJobLog, viewJobRun } from "../job-view.ts";
import { page, pageQuery, paged, sequenceOf } from "../paging.ts";
import type { ConsoleApp } from "../respond.ts";
import { tenantParams } from "./tenants.ts";

const pages = pageQuery.pick({ limit: true, cursor: true });
const job = z
  .string()
  .optional()
  .openapi({ description: "Only this job's: its name, or its id (also of one that is gone)" });

/** What the jobs of a tenant did. */
export function jobRunRoutes(app: ConsoleApp): void {
  const show = {
    ...NO_INPUT,
    method: "get",
    tag: "jobs",
    scope: "read",
    status: 200,
    refusals: ["not-found"],
  } as const;

  read(
    app,
    {
      ...show,
      path: "/tenants/{tenant}/job-runs",
      summary: "List runs, the newest first",
      params: tenantParams,
      query: pages.extend({ job, state: z.enum(JOB_RUN_STATES).optional() }),
      answer: page(jobRunView),
    },
    async (db, { params, query }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const { id: tenantId } = found.tenant;
      const rows = await db
        .select()
        .from(jobRuns)
        .where(
          and(
            eq(jobRuns.tenantId, tenantId),
            query.job === undefined ? undefined : eq(jobRuns.jobId, await idOf(db, tenantId, query.job)),
            query.state === undefined ? undefined : eq(jobRuns.state, query.state),
            query.cursor === undefined ? undefined : lt(jobRuns.seq, sequenceOf(query.cursor)),
          ),
        )
        .orderBy(desc(jobRuns.seq))
        .limit(query.limit + 1);
      return ok({ body: paged(rows, query.limit, viewJobRun, (row) => [String(row.seq)]) });
    },
  );

  read(
    app,
    {
      ...show,
      path: "/tenants/{tenant}/job-runs/{run}",
      summary: "Show a run",
      params: tenantParams.extend({ run: z.string() }),
      answer: jobRunView,
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const [row] = await db
        .select()
        .from(jobRuns)
        .where(and(eq(jobRuns.id, params.run), eq(jobRuns.tenantId, found.tenant.id)));
      return row === undefined ? notFound("run", params.run) : ok({ body: viewJobRun(row) });
    },
  );

  read(
    app,
    {
      ...show,
      path: "/tenants/{tenant}/job-logs",
      summary: "List log lines of its jobs, the newest first",
      params: tenantParams,
      query: pages.extend({
        job,
        run: z.string().optional().openapi({ description: "Only this run's" }),
        level: z.enum(jobLogLevel.options).optional().openapi({ description: "Only of this level and above" }),
      }),
      answer: page(jobLogView),
    },
    async (db, { params, query }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const { id: tenantId } = found.tenant;
      const levels = jobLogLevel.options.slice(jobLogLevel.options.indexOf(query.level ?? "debug"));
      const rows = await db
        .select()
        .from(jobLogs)
        .where(
          and(
            eq(jobLogs.tenantId, tenantId),
            query.job === undefined ? undefined : eq(jobLogs.jobId, await idOf(db, tenantId, query.job)),
            query.run === undefined ? undefined : eq(jobLogs.runId, query.run),
            query.level === undefined ? undefined : inArray(jobLogs.level, levels),
            query.cursor === undefined ? undefined : lt(jobLogs.seq, sequenceOf(query.cursor)),
          ),
        )
        .orderBy(desc(jobLogs.seq))
        .limit(query.limit + 1);
      return ok({ body: paged(rows, query.limit, viewJobLog, (row) => [String(row.seq)]) });
    },
  );
}

const idOf = async (db: Db, tenantId: string, nameOrId: string): Promise<string> =>
  (await findJob(db, tenantId, nameOrId))?.id ?? nameOrId;
