import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, inject, test } from "vitest";
import { connect, connectSql } from "../../../src/db/client.ts";
import { publishedJobSets } from "../../../src/db/jobs.ts";
import { jobLogs, jobRuns } from "../../../src/db/schema.ts";
import { jobSet, jobWorkerName } from "../../../src/protocol/jobs.ts";
import { newId } from "../../../src/shared/ids.ts";
import { call, makeCluster, makeNode, unique, type Item } from "./api.ts";

const admin = connectSql(inject("database").adminUrl, 2);
const { db } = connect(inject("database").adminUrl, 2);

let cluster: string;
beforeAll(async () => {
  cluster = await makeCluster();
  await makeNode(cluster, 1_000);
});

async function makeTenant(): Promise<{ id: string; at: string }> {
  const slug = unique("acme");
  const { body } = await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
  await admin`update control.tenants set state = 'active' where id = ${body.tenant.id}`;
  return { id: body.tenant.id, at: `/api/v1/tenants/${slug}@${cluster}` };
}

const nightly = {
  name: "nightly",
  schedule: { kind: "cron", expression: "30 2 * * *", timeZone: "Europe/Berlin" },
  action: { kind: "target", target: "erp", path: "/orders?since={since}" },
};
const hook = {
  name: "hook",
  schedule: { kind: "interval", everySeconds: 60 },
  action: { kind: "webhook", url: "https://hooks.example.com/{run}" },
};

/** What the provisioner would publish to the tenant's workers. */
const published = async (tenantId: string) =>
  jobSet.array().parse(await db.transaction((tx) => publishedJobSets(tx, tenantId, new Date(), true)));

/** What a worker was given to seal. */
async function sealed(tenantId: string): Promise<[context: string, secret: string][]> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what vitest.config.ts binds
  const { JOB_WORKER } = env as unknown as {
    JOB_WORKER: { getByName(name: string): { sealedSoFar(): Promise<[string, string][]> } };
  };
  return await JOB_WORKER.getByName(jobWorkerName(tenantId, 0)).sealedSoFar();
}

describe("a tenant's jobs", () => {
  test("are created, shown, changed and deleted, each change by an operation of their own", async () => {
    const { id, at } = await makeTenant();
    expect((await call("GET", `${at}/jobs`)).body).toEqual({ items: [] });
    expect(await published(id)).toEqual([]);
    const made = await call("POST", `${at}/jobs`, { body: nightly });
    expect(made.status).toBe(202);
    expect(made.body.operation).toMatchObject({ kind: "jobs-publish", steps: [{ name: "publish-jobs" }] });
    expect(made.body.job).toMatchObject({
      ...nightly,
      worker: 0,
      enabled: true,
      retry: true,
      repeatable: false,
      timeoutSeconds: 30,
      maxItems: 1_000,
      problem: null,
      cursor: null,
      action: { method: "POST", body: null },
    });
    expect(made.body.signingSecret).toBeUndefined();
    expect((await call("POST", `${at}/jobs`, { body: nightly })).body.code).toBe("conflict");
    const shown = await call("GET", `${at}/jobs/nightly`);
    expect(shown.body).toEqual(made.body.job);
    expect((await call("GET", `${at}/jobs/${made.body.job.id}`)).body).toEqual(made.body.job);

    const stale = { headers: { "if-match": '"1"' }, body: { enabled: false } };
    expect((await call("PATCH", `${at}/jobs/nightly`, stale)).status).toBe(412);
    const changed = await call("PATCH", `${at}/jobs/nightly`, {
      headers: { "if-match": shown.headers.get("etag") ?? "" },
      body: { timeoutSeconds: 5, cursor: "2026-01-01T00:00:00.000Z" },
    });
    expect(changed.body.job).toMatchObject({ timeoutSeconds: 5, maxItems: 1_000, cursor: "2026-01-01T00:00:00.000Z" });
    const [set] = await published(id);
    expect(set).toMatchObject({ worker: 0, active: true, jobs: [{ name: "nightly", timeoutMs: 5_000 }] });
    expect(set?.jobs[0]?.cursor).toEqual({ epoch: 1, atMs: Date.parse("2026-01-01T00:00:00Z") });
    expect(set?.host).toBe(`${at.slice("/api/v1/tenants/".length).split("@")[0]}.${cluster}.localhost`);

    expect((await call("DELETE", `${at}/jobs/nightly`)).status).toBe(202);
    expect((await call("GET", `${at}/jobs/nightly`)).status).toBe(404);
    const audit = await call("GET", `/api/v1/audit?subject=${made.body.job.id}`);
    expect(audit.body.items.map(({ action }: Item) => action)).toEqual(["job.delete", "job.change", "job.create"]);
  });

  test("one that is bound to a worker that does not exist is flagged, and runs when there is one (G23)", async () => {
    const { id, at } = await makeTenant();
    const made = await call("POST", `${at}/jobs`, { body: { ...nightly, worker: 2 } });
    expect(made.status).toBe(202);
    expect(made.body.job.problem).toContain("worker 2 does not exist: the tenant has 1");
    expect((await call("GET", `${at}/jobs`)).body.items[0].problem).not.toBeNull();
    expect((await published(id)).flatMap(({ jobs }) => jobs)).toEqual([]);
    const refused = await call("POST", `${at}/jobs/nightly/run`);
    expect(refused.body).toMatchObject({ status: 409, detail: expect.stringContaining("worker 2 does not exist") });

    const more = await call("PATCH", `${at}/job-workers`, { body: { workers: 3, retentionDays: 7 } });
    expect(more.body.settings).toMatchObject({ workers: 3, retentionDays: 7, logLevel: "info" });
    expect((await call("GET", `${at}/jobs`)).body.items[0].problem).toBeNull();
    expect((await published(id)).map(({ jobs }) => jobs.length)).toEqual([0, 0, 1]);
    await call("PATCH", `${at}/job-workers`, { body: { workers: 1 } });
    // The others are told that they are not there any more.
    expect((await published(id)).map(({ active }) => active)).toEqual([true, false, false]);
    expect((await call("PATCH", `${at}/job-workers`, { body: { workers: 9 } })).status).toBe(400);
  });

  test("a webhook has a signing secret, shown once; secrets are kept sealed", async () => {
    const { id, at } = await makeTenant();
    const made = await call("POST", `${at}/jobs`, { body: hook });
    expect(made.body.signingSecret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const { id: jobId } = made.body.job;
    const renewed = await call("POST", `${at}/jobs/hook/signing-secret`);
    expect(renewed.body.signingSecret).not.toBe(made.body.signingSecret);
    const auth = { kind: "client-credentials", tokenUrl: "https://login.example.com/token", clientId: "sync" };
    expect((await call("POST", `${at}/jobs`, { body: { ...hook, name: "other", auth } })).status).toBe(400);
    const secured = await call("PATCH", `${at}/jobs/hook`, { body: { auth, clientSecret: "s3cret" } });
    expect(secured.body.job).toMatchObject({ hasClientSecret: true, auth: { ...auth, scope: "" } });
    expect(await sealed(id)).toEqual([
      [`job:${jobId}:webhook`, made.body.signingSecret],
      [`job:${jobId}:webhook`, renewed.body.signingSecret],
      [`job:${jobId}:client`, "s3cret"],
    ]);
    const said = JSON.stringify([await call("GET", `${at}/jobs`), await call("GET", "/api/v1/audit")]);
    expect(said).not.toContain("s3cret");
    expect(said).not.toContain("whsec_");
    await call("POST", `${at}/jobs`, { body: nightly });
    expect((await call("POST", `${at}/jobs/nightly/signing-secret`)).body.code).toBe("conflict");
  });

  test("what can't work is refused with what is wrong", async () => {
    const { at } = await makeTenant();
    const refused = async (change: object): Promise<string> => {
      const { status, body } = await call("POST", `${at}/jobs`, { body: { ...nightly, ...change } });
      expect(status).toBe(400);
      return body.detail;
    };
    expect(await refused({ schedule: { kind: "cron", expression: "61 * * * *" } })).toContain("body.schedule");
    expect(await refused({ schedule: { kind: "cron", expression: "0 0 * * *", timeZone: "Mars" } })).toContain("Mars");
    expect(await refused({ schedule: { kind: "interval", everySeconds: 0 } })).toContain("everySeconds");
    expect(await refused({ action: { ...hook.action, url: "ftp://example.com" } })).toContain("http(s)");
    expect(await refused({ action: { ...hook.action, url: "https://{page}.example.com" } })).toContain("http(s)");
    expect(await refused({ action: { ...nightly.action, headers: { "causeway-job": "x" } } })).toContain("headers");
    expect(await refused({ action: { ...nightly.action, path: "no-slash" } })).toContain("path");
    expect(await refused({ name: "Not A Name" })).toContain("body.name");
    expect((await call("POST", `${at}/jobs`, { body: nightly, as: "read" })).status).toBe(403);
    expect((await call("GET", "/api/v1/tenants/nobody/jobs")).status).toBe(404);
  });

  test("run and stop go to the worker at once; what it is at is shown", async () => {
    const { at } = await makeTenant();
    const { body } = await call("POST", `${at}/jobs`, { body: nightly });
    expect((await call("POST", `${at}/jobs/nightly/stop`)).body.detail).toContain("No run of the job");
    const asked = await call("POST", `${at}/jobs/nightly/run`);
    expect(asked).toMatchObject({ status: 202, body: { runId: expect.stringMatching(/^run_/) } });
    expect(asked.headers.get("location")).toBe(`${at}/job-runs/${asked.body.runId}`);
    expect((await call("POST", `${at}/jobs/nightly/run`)).body).toMatchObject({ code: "conflict" });
    expect((await call("GET", `${at}/job-workers`)).body).toMatchObject({
      settings: { workers: 1 },
      items: [
        {
          worker: 0,
          running: { jobId: body.job.id, item: 1 },
          next: [
            { jobId: "soon", at: "1970-01-01T00:00:01.000Z" },
            { jobId: "later", at: "1970-01-01T00:00:02.000Z" },
          ],
        },
      ],
    });
    const stopped = await call("POST", `${at}/jobs/nightly/stop`);
    expect(stopped.body).toEqual({ runId: asked.body.runId, finishesItem: true });
  });

  test("runs and log lines are listed, the newest first, by job, state, run and level", async () => {
    const { id: tenantId, at } = await makeTenant();
    const { body } = await call("POST", `${at}/jobs`, { body: nightly });
    const { id: jobId } = body.job;
    const run = (n: number) => ({
      id: newId("run"),
      tenantId,
      jobId: n === 2 ? "job_gone" : jobId,
      job: "nightly",
      worker: 0,
      version: 3,
      trigger: "schedule" as const,
      state: n === 1 ? ("failed" as const) : ("succeeded" as const),
      queuedAt: new Date(n),
      items: n,
      records: 0,
      errors: 0,
      retries: 0,
    });
    const runs = [run(0), run(1), run(2)];
    for (const row of runs) await db.insert(jobRuns).values(row);
    for (const [i, level] of (["debug", "warn", "error"] as const).entries())
      await db.insert(jobLogs).values({
        id: newId("evt"),
        tenantId,
        jobId,
        runId: runs[i]?.id ?? "",
        at: new Date(i),
        level,
        message: `line ${i}`,
      });
    const items = async (path: string) => (await call("GET", `${at}${path}`)).body.items;
    expect((await items("/job-runs")).map(({ items: n }: Item) => n)).toEqual([2, 1, 0]);
    expect((await items("/job-runs?job=nightly&state=succeeded")).map(({ items: n }: Item) => n)).toEqual([0]);
    expect((await items("/job-runs?job=job_gone")).map(({ items: n }: Item) => n)).toEqual([2]);
    const first = await call("GET", `${at}/job-runs?limit=2`);
    expect((await items(`/job-runs?limit=2&cursor=${first.body.nextCursor}`)).map(({ items: n }: Item) => n)).toEqual([
      0,
    ]);
    expect((await call("GET", `${at}/job-runs/${runs[1]?.id}`)).body).toMatchObject({ state: "failed", since: null });
    expect((await call("GET", `${at}/job-runs/run_nothing`)).status).toBe(404);
    expect((await items("/job-logs")).map(({ message }: Item) => message)).toEqual(["line 2", "line 1", "line 0"]);
    expect((await items("/job-logs?level=warn&job=nightly")).map(({ level }: Item) => level)).toEqual([
      "error",
      "warn",
    ]);
    expect((await items(`/job-logs?run=${runs[0]?.id}`)).map(({ message }: Item) => message)).toEqual(["line 0"]);
    const other = await makeTenant();
    expect((await call("GET", `${other.at}/job-runs/${runs[0]?.id}`)).status).toBe(404);
    expect((await call("GET", `${other.at}/job-logs`)).body.items).toEqual([]);
  });
});
