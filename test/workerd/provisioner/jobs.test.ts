import { abortAllDurableObjects } from "cloudflare:test";
import { asc, eq } from "drizzle-orm";
import { inject, expect, test } from "vitest";
import { enqueueOperation, jobsSubject } from "../../../src/db/operations.ts";
import { raiseJobSettings } from "../../../src/db/jobs.ts";
import { jobLogs, jobRuns, jobs, jobSettings, tenants } from "../../../src/db/schema.ts";
import { jobAction, jobAuth, jobWorkerName } from "../../../src/protocol/jobs.ts";
import { JOB_CHECK_MS } from "../../../src/provisioner/limits.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { sweep } from "../../../src/provisioner/sweep.ts";
import { newId } from "../../../src/shared/ids.ts";
import type { ScriptedAnswer, SeenCall } from "../../support/job-target.ts";
import { until } from "../../support/until.ts";
import { bindings, makeCluster, operationOf, requestDeletion, requestTenant, world } from "./support.ts";
import type { World } from "./support.ts";

// Workers of tenants with the real Postgres, the real edge, and a server that answers as a test wants it.

async function makeTenant(w: World, slug = "acme"): Promise<string> {
  const { cluster } = await makeCluster();
  const { tenantId, operationId } = await requestTenant(cluster, slug);
  await runOperation(w.ports, operationId);
  await w.db.update(tenants).set({ state: "active" }).where(eq(tenants.id, tenantId));
  return tenantId;
}

const target = {
  script: async (key: string, answers: readonly ScriptedAnswer[]): Promise<void> => {
    await fetch(`${inject("jobTarget")}/script/${key}`, { method: "PUT", body: JSON.stringify(answers) });
  },
  seen: async (key: string): Promise<SeenCall[]> => (await fetch(`${inject("jobTarget")}/seen/${key}`)).json(),
  release: async (key: string): Promise<void> => {
    await (await fetch(`${inject("jobTarget")}/release/${key}`, { method: "POST" })).text();
  },
  url: (key: string): string => `${inject("jobTarget")}/c/${key}`,
};

type JobChange = Partial<typeof jobs.$inferInsert>;

/** What the console writes. The name is the key of its calls. */
async function addJob(w: World, tenantId: string, name: string, change: JobChange = {}): Promise<string> {
  const id = newId("job");
  const sealer = bindings.JOB_WORKER.getByName(jobWorkerName(tenantId, 0));
  await w.db.insert(jobs).values({
    id,
    tenantId,
    name,
    schedule: { kind: "manual" },
    action: jobAction.parse({ kind: "webhook", url: target.url(name) }),
    timeoutMs: 30_000,
    maxItems: 100,
    sealedWebhook: await sealer.seal(`job:${id}:webhook`, `whsec_${btoa("0123456789abcdef")}`),
    sealedClient: await sealer.seal(`job:${id}:client`, "s3cret"),
    ...change,
  });
  return id;
}

/** The operation that the console enqueues; answers its id. */
async function publish(w: World, tenantId: string, settings: Partial<typeof jobSettings.$inferInsert> = {}) {
  const operationId = await w.db.transaction(async (tx) => {
    await raiseJobSettings(tx, tenantId, new Date());
    if (Object.keys(settings).length > 0)
      await tx.update(jobSettings).set(settings).where(eq(jobSettings.tenantId, tenantId));
    const wanted = { kind: "jobs-publish", subjectId: jobsSubject(tenantId), tenantId, now: new Date(0) } as const;
    return (await enqueueOperation(tx, wanted)).operationId;
  });
  await runOperation(w.ports, operationId);
  return operationId;
}

const worker = (tenantId: string, index = 0) => bindings.JOB_WORKER.getByName(jobWorkerName(tenantId, index));

async function run(tenantId: string, jobId: string, index = 0): Promise<string> {
  const asked = await worker(tenantId, index).run(jobId);
  if (asked.kind !== "queued") throw new Error(`the run is ${asked.kind}`);
  return asked.runId;
}

const recorded = async (w: World, runId: string) => (await w.db.select().from(jobRuns).where(eq(jobRuns.id, runId)))[0];
const ended = (w: World, runId: string) =>
  until(`the end of run ${runId}`, async () => {
    const found = await recorded(w, runId);
    return found?.endedAt === null ? null : found;
  });
const called = (key: string, count: number) =>
  until(`call ${count} of ${key}`, async () => {
    const seen = await target.seen(key);
    return seen.length >= count ? seen : null;
  });
const linesOf = async (w: World, runId: string) =>
  (await w.db.select().from(jobLogs).where(eq(jobLogs.runId, runId)).orderBy(asc(jobLogs.seq))).map(
    ({ message }) => message,
  );

/** A key that no other test has. */
const unique = (name: string): string => `${name}-${newId("req").slice(4, 14)}`;

test("a run goes through its items, is recorded with counts and lines, and moves the cursor", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("sync");
  const jobId = await addJob(w, tenantId, key, {
    action: jobAction.parse({
      kind: "webhook",
      url: `${target.url(key)}?since={since}&page={page}`,
      body: '{"run":"{run}","item":{item}}',
    }),
  });
  await publish(w, tenantId, { logLevel: "debug" });
  await target.script(key, [{ headers: { "job-next": "p 2", "job-count": "40" } }, { headers: { "job-count": "2" } }]);
  const first = await run(tenantId, jobId);
  const record = await ended(w, first);
  expect(record).toMatchObject({ state: "succeeded", trigger: "manual", items: 2, records: 42, errors: 0, retries: 0 });
  expect(record).toMatchObject({ jobId, job: key, worker: 0, sinceAt: null, reason: null });
  expect(await linesOf(w, first)).toEqual([
    "run began (manual)",
    "item 1: status 200",
    "item 2: status 200",
    "run succeeded: items 2, records 42",
  ]);
  const seen = await target.seen(key);
  expect(seen.map(({ path }) => path)).toEqual([`/c/${key}?since=&page=`, `/c/${key}?since=&page=p%202`]);
  expect(seen[1]?.body).toBe(JSON.stringify({ run: first, item: 2 }));
  expect(seen[0]?.headers).toMatchObject({ "job-id": jobId, "job-run": first, "job-item": "1" });
  expect(seen[0]?.headers["webhook-signature"]).toMatch(/^v1,/);

  // The next one starts at the previous one's time; one that failed does not move it.
  const [row] = await w.db.select().from(jobs).where(eq(jobs.id, jobId));
  expect(row?.cursorAt).toEqual(record?.startedAt);
  await target.script(key, [{ status: 500 }, {}]);
  const failed = await ended(w, await run(tenantId, jobId));
  expect(failed).toMatchObject({
    state: "failed",
    errors: 1,
    reason: "item 1: status 500",
    sinceAt: record?.startedAt,
  });
  const third = await ended(w, await run(tenantId, jobId));
  expect(third).toMatchObject({ state: "succeeded", sinceAt: record?.startedAt });
  expect((await target.seen(key)).at(-1)?.headers["job-since"]).toBe(record?.startedAt?.toISOString());
});

test("a scheduled job runs by itself, again and again", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("tick");
  const jobId = await addJob(w, tenantId, key, { schedule: { kind: "interval", everySeconds: 1 } });
  await publish(w, tenantId);
  await called(key, 2);
  const [row] = await w.db.select().from(jobRuns).where(eq(jobRuns.jobId, jobId));
  expect(row).toMatchObject({ trigger: "schedule" });
  expect((await worker(tenantId).status()).nextDueMs[jobId]).toBeGreaterThan(Date.now() - 5_000);
  await w.db.update(jobs).set({ enabled: false }).where(eq(jobs.id, jobId));
  await publish(w, tenantId);
  expect((await worker(tenantId).status()).nextDueMs[jobId]).toBeNull();
});

test("503 is tried again as often as it may be, and with retries off not at all", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("busy");
  const jobId = await addJob(w, tenantId, key);
  const once = unique("once");
  const onceId = await addJob(w, tenantId, once, { retry: false });
  await publish(w, tenantId);
  await target.script(key, [{ status: 503 }, { status: 429 }, { status: 503 }, {}]);
  expect(await ended(w, await run(tenantId, jobId))).toMatchObject({ state: "succeeded", errors: 3, retries: 3 });
  const at = (await target.seen(key)).map(({ atMs }) => atMs);
  const waits = at.slice(1).map((ms, i) => ms - (at[i] ?? 0));
  for (const [i, least] of [500, 1_000, 2_000].entries()) expect(waits[i]).toBeGreaterThanOrEqual(least - 20);
  await target.script(once, [{ status: 503 }]);
  expect(await ended(w, await run(tenantId, onceId))).toMatchObject({ state: "failed", retries: 0 });
  expect(await target.seen(once)).toHaveLength(1);
});

test("jobs of a worker take turns, another worker's and another tenant's go on", async () => {
  const w = world();
  const [tenantId, otherTenant] = [await makeTenant(w), await makeTenant(w, "globex")];
  const [stuck, behind, beside, others] = [unique("stuck"), unique("behind"), unique("beside"), unique("others")];
  const stuckId = await addJob(w, tenantId, stuck);
  const behindId = await addJob(w, tenantId, behind);
  const besideId = await addJob(w, tenantId, beside, { worker: 1 });
  const othersId = await addJob(w, otherTenant, others);
  await publish(w, tenantId, { workers: 2, workersEver: 2 });
  await publish(w, otherTenant);
  await target.script(stuck, [{ held: true }]);
  const stuckRun = await run(tenantId, stuckId);
  await called(stuck, 1);
  const behindRun = await run(tenantId, behindId);
  expect(await worker(tenantId).run(stuckId)).toEqual({ kind: "busy", runId: stuckRun });
  expect(await ended(w, await run(tenantId, besideId, 1))).toMatchObject({ state: "succeeded", worker: 1 });
  expect(await ended(w, await run(otherTenant, othersId))).toMatchObject({ state: "succeeded" });
  expect(await target.seen(behind)).toEqual([]);
  expect(await worker(tenantId).status()).toMatchObject({
    running: { jobId: stuckId, item: 1, stopping: false },
    queued: [{ jobId: behindId, runId: behindRun }],
  });
  await target.release(stuck);
  const [first, second] = [await ended(w, stuckRun), await ended(w, behindRun)];
  expect(second?.startedAt?.getTime()).toBeGreaterThanOrEqual(first?.endedAt?.getTime() ?? Infinity);
});

test("a target that never answers costs its own tenant the time limit, and the run says so", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("silent");
  const jobId = await addJob(w, tenantId, key, { timeoutMs: 1_000 });
  await publish(w, tenantId);
  await target.script(key, [{ held: true }]);
  expect(await ended(w, await run(tenantId, jobId))).toMatchObject({
    state: "failed",
    reason: "item 1: no answer within 1 s",
  });
});

test("a stop lets the current item finish", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("stopped");
  const jobId = await addJob(w, tenantId, key);
  await publish(w, tenantId);
  await target.script(key, [{ held: true, headers: { "job-next": "2" } }]);
  const runId = await run(tenantId, jobId);
  await called(key, 1);
  expect(await worker(tenantId).stop(jobId)).toEqual({ kind: "stopping", runId });
  expect((await recorded(w, runId))?.endedAt ?? null).toBeNull();
  await target.release(key);
  expect(await ended(w, runId)).toMatchObject({ state: "stopped", items: 1, reason: "somebody stopped it" });
  expect(await target.seen(key)).toHaveLength(1);
  const [row] = await w.db.select().from(jobs).where(eq(jobs.id, jobId));
  expect(row?.cursorAt).toBeNull();
});

test("an access token is fetched once, and again in the middle of a run when it is over or refused", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const [key, tokens] = [unique("secured"), unique("tokens")];
  const token = (value: string, expiresIn: number): ScriptedAnswer => ({
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ access_token: value, token_type: "Bearer", expires_in: expiresIn }),
  });
  const jobId = await addJob(w, tenantId, key, {
    auth: jobAuth.parse({ kind: "client-credentials", tokenUrl: target.url(tokens), clientId: "sync", scope: "read" }),
  });
  await publish(w, tenantId);
  // The first lives for 0.3 s, of which it is used half; the second is refused before its time.
  await target.script(tokens, [token("one", 0.3), token("two", 3_600), token("three", 3_600)]);
  const next = { headers: { "job-next": "more" } };
  await target.script(key, [{ ...next, held: true }, next, { status: 401 }, {}]);
  const runId = await run(tenantId, jobId);
  await called(key, 1);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await target.release(key);
  expect(await ended(w, runId)).toMatchObject({ state: "succeeded", items: 3 });
  const used = (await target.seen(key)).map(({ headers }) => headers["authorization"]);
  expect(used).toEqual(["Bearer one", "Bearer two", "Bearer two", "Bearer three"]);
  const asked = await target.seen(tokens);
  expect(asked.map(({ headers }) => headers["authorization"])).toEqual(Array(3).fill(`Basic ${btoa("sync:s3cret")}`));
  expect(asked[0]?.body).toBe("grant_type=client_credentials&scope=read");
});

test("a worker that dies between two attempts goes on where it was", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("cut");
  const jobId = await addJob(w, tenantId, key);
  await publish(w, tenantId);
  await target.script(key, [{ headers: { "job-next": "2" } }, { status: 503, headers: { "retry-after": "2" } }, {}]);
  const runId = await run(tenantId, jobId);
  await called(key, 2);
  await until("the wait for the next attempt", async () => (await recorded(w, runId))?.retries === 1);
  await abortAllDurableObjects();
  expect(await ended(w, runId)).toMatchObject({ state: "succeeded", items: 2, retries: 1 });
  expect((await target.seen(key)).map(({ headers }) => headers["job-item"])).toEqual(["1", "2", "2"]);
});

test("a worker that dies in the middle of an item repeats it where that is safe, else its run has failed", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const [safe, unsafe] = [unique("safe"), unique("unsafe")];
  const safeId = await addJob(w, tenantId, safe, { repeatable: true });
  const unsafeId = await addJob(w, tenantId, unsafe, { worker: 1 });
  await publish(w, tenantId, { workers: 2, workersEver: 2 });
  await target.script(safe, [{ held: true }]);
  await target.script(unsafe, [{ held: true }]);
  const [safeRun, unsafeRun] = [await run(tenantId, safeId), await run(tenantId, unsafeId, 1)];
  await called(safe, 1);
  await called(unsafe, 1);
  await abortAllDurableObjects();
  await worker(tenantId).wake();
  await worker(tenantId, 1).wake();
  expect(await ended(w, safeRun)).toMatchObject({ state: "succeeded", items: 1, errors: 1, retries: 1 });
  const keys = (await target.seen(safe)).map(({ headers }) => headers["idempotency-key"]);
  expect(keys).toEqual([`${safeRun}.1`, `${safeRun}.1`]);
  const failed = await ended(w, unsafeRun);
  expect(failed).toMatchObject({ state: "failed", items: 0 });
  expect(failed?.reason).toContain("cut off during item 1");
  expect(await target.seen(unsafe)).toHaveLength(1);
});

test("a job that changes its worker is finished by the old one first, and never runs at both", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("moving");
  const jobId = await addJob(w, tenantId, key);
  await publish(w, tenantId, { workers: 2, workersEver: 2 });
  expect(await ended(w, await run(tenantId, jobId))).toMatchObject({ state: "succeeded", worker: 0 });
  await target.script(key, [{ held: true, headers: { "job-next": "2" } }]);
  const runId = await run(tenantId, jobId);
  await called(key, 2);
  await w.db.update(jobs).set({ worker: 1 }).where(eq(jobs.id, jobId));
  const operationId = await publish(w, tenantId);
  expect((await operationOf(w, operationId)).operation).toMatchObject({ state: "pending" });
  expect(await worker(tenantId, 1).run(jobId)).toEqual({ kind: "unknown" });
  await target.release(key);
  const stopped = await ended(w, runId);
  expect(stopped).toMatchObject({ state: "stopped", reason: "the job was removed from this worker" });
  w.advance(60_000);
  await runOperation(w.ports, operationId);
  expect((await operationOf(w, operationId)).operation).toMatchObject({ state: "succeeded" });
  expect(await worker(tenantId).run(jobId)).toEqual({ kind: "unknown" });
  // It has come as far as it had.
  const next = await ended(w, await run(tenantId, jobId, 1));
  expect(next).toMatchObject({ state: "succeeded", worker: 1, sinceAt: stopped?.sinceAt });
  expect(next?.sinceAt).not.toBeNull();
});

test("fewer workers: those that go do nothing more", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("unbound");
  const jobId = await addJob(w, tenantId, key, { worker: 1, schedule: { kind: "interval", everySeconds: 1 } });
  await publish(w, tenantId, { workers: 2, workersEver: 2 });
  await called(key, 1);
  await publish(w, tenantId, { workers: 1 });
  expect((await worker(tenantId, 1).status()).nextDueMs).toEqual({});
  expect(await worker(tenantId, 1).run(jobId)).toEqual({ kind: "unknown" });
});

test("a suspended tenant's jobs stand still, a deleted one's are gone", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("standing");
  const jobId = await addJob(w, tenantId, key);
  await publish(w, tenantId);
  const toState = async (kind: "tenant-suspend" | "tenant-resume", state: "suspended" | "active") => {
    const id = await w.db.transaction(async (tx) => {
      await tx.update(tenants).set({ state }).where(eq(tenants.id, tenantId));
      return (await enqueueOperation(tx, { kind, subjectId: tenantId, tenantId, now: new Date(0) })).operationId;
    });
    await runOperation(w.ports, id);
    expect((await operationOf(w, id)).operation).toMatchObject({ state: "succeeded" });
  };
  await toState("tenant-suspend", "suspended");
  expect(await worker(tenantId).run(jobId)).toEqual({ kind: "inactive" });
  await toState("tenant-resume", "active");
  await ended(w, await run(tenantId, jobId));
  const deletion = await requestDeletion(tenantId);
  await until("the deletion", async () => {
    await runOperation(w.ports, deletion);
    w.advance(5_000);
    return (await operationOf(w, deletion)).operation.state === "succeeded";
  });
  expect(await worker(tenantId).run(jobId)).toEqual({ kind: "unknown" });
  expect(await w.db.select().from(jobRuns).where(eq(jobRuns.tenantId, tenantId))).toEqual([]);
});

test("an address inside is not called, and a job's secret opens for that job only", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("inside");
  const jobId = await addJob(w, tenantId, key, {
    action: jobAction.parse({ kind: "webhook", url: "https://169.254.169.254/latest/meta-data" }),
  });
  const copied = unique("copied");
  const foreign = await worker(tenantId).seal("job:job_other:webhook", `whsec_${btoa("x".repeat(16))}`);
  const copiedId = await addJob(w, tenantId, copied, { sealedWebhook: foreign });
  await publish(w, tenantId);
  expect((await ended(w, await run(tenantId, jobId)))?.reason).toBe(
    "item 1: the address may not be called: its address is not public",
  );
  expect((await ended(w, await run(tenantId, copiedId)))?.reason).toBe(
    "item 1: the webhook's signing key can't be read",
  );
  expect(await target.seen(copied)).toEqual([]);
});

test("the sweep wakes workers and forgets what is old", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const key = unique("old");
  const jobId = await addJob(w, tenantId, key);
  await publish(w, tenantId, { retentionDays: 1 });
  const runId = await run(tenantId, jobId);
  await ended(w, runId);
  await w.db.update(jobSettings).set({ checkedAt: null }).where(eq(jobSettings.tenantId, tenantId));
  await sweep(w.ports);
  expect(await recorded(w, runId)).toBeDefined();
  w.advance(25 * 60 * 60_000 + JOB_CHECK_MS);
  await until("the sweep that looks after this tenant", async () => {
    await sweep(w.ports);
    return (await recorded(w, runId)) === undefined;
  });
  expect(await linesOf(w, runId)).toEqual([]);
});
