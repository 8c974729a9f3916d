import { createExecutionContext, createMessageBatch, createScheduledController, getQueueResult } from "cloudflare:test";
import { describe, expect, test, vi } from "vitest";
import { cancelOperation } from "../../../src/db/cancel-operation.ts";
import { enqueueOperation, PLANS, retryOperation } from "../../../src/db/operations.ts";
import { directoryShard } from "../../../src/policy/record.ts";
import { LEASE_MS, MAX_STEP_ATTEMPTS, MAX_WAIT_MS } from "../../../src/provisioner/limits.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { beginStep, claimOperation, fenced, LeaseLost } from "../../../src/provisioner/store.ts";
import { sweep } from "../../../src/provisioner/sweep.ts";
import worker from "../../../src/provisioner/worker.ts";
import { holdAt, settle } from "./failure-injections.ts";
import { bindings, lookup, makeCluster, operationOf, requestTenant, tenantRow, workerEnv, world } from "./support.ts";

const nodeOf = (ids: readonly string[]) => bindings.NODE_CHANNEL.getByName(ids[0] ?? "");
const stepOf = async (w: ReturnType<typeof world>, id: string, name: string) =>
  (await operationOf(w, id)).steps.find((step) => step.name === name);

describe("a step that breaks", () => {
  test("is recorded with its reason, tried again later, and resumes where it was (H52)", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { operationId, host } = await requestTenant(cluster, "acme");
    await bindings.DIRECTORY.getByName(directoryShard(host)).failNext(2);
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation).toMatchObject({
      state: "pending",
      attempts: 1,
      reason: expect.stringContaining("the directory is down"),
      leaseToken: null,
    });
    expect(w.sent).toEqual([{ message: { kind: "operation", operationId }, delaySeconds: 1 }]);
    // Too early: nothing happens but that the message comes again.
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation.attempts).toBe(1);
    w.advance(1_000);
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation.attempts).toBe(2);
    w.advance(2_000);
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation).toMatchObject({ state: "succeeded", reason: null });
    expect((await lookup(host))?.state).toBe("active");
  });

  test("is given up after its last attempt: failed with the reason, dead-lettered, shown to visitors; a retry goes on from there (H52)", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { tenantId, operationId, host } = await requestTenant(cluster, "acme");
    await w.admin`update control.clusters set database_binding = 'CLUSTER_DB_BROKEN' where name = ${cluster}`;
    await runOperation(w.ports, operationId);
    const { operation, steps } = await operationOf(w, operationId);
    expect(operation).toMatchObject({ state: "failed", reason: expect.stringContaining("CLUSTER_DB_BROKEN") });
    expect(operation.deadLetteredAt).not.toBeNull();
    expect(steps.map(({ state }) => state).slice(0, 3)).toEqual(["done", "failed", "pending"]);
    expect((await tenantRow(w, tenantId))?.state).toBe("failed");
    expect((await lookup(host))?.state).toBe("failed");
    // Messages that are still under way change nothing.
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation.state).toBe("failed");

    await w.admin`update control.clusters set database_binding = 'CLUSTER_DB_DEFAULT' where name = ${cluster}`;
    const retried = await w.db.transaction((tx) => retryOperation(tx, operationId, new Date()));
    expect(retried.ok).toBe(true);
    expect(await w.db.transaction((tx) => retryOperation(tx, operationId, new Date()))).toMatchObject({
      error: { reason: "not-failed" },
    });
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation).toMatchObject({ state: "succeeded", attempts: 0 });
    expect((await lookup(host))?.state).toBe("active");
    expect((await tenantRow(w, tenantId))?.state).toBe("active");
  });

  test("counts its errors up to the limit", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { operationId, host } = await requestTenant(cluster, "acme");
    await bindings.DIRECTORY.getByName(directoryShard(host)).failNext(100);
    for (let attempt = 0; attempt < MAX_STEP_ATTEMPTS; attempt++) {
      await runOperation(w.ports, operationId);
      w.advance(60_000);
    }
    await bindings.DIRECTORY.getByName(directoryShard(host)).failNext(0);
    const { operation, steps } = await operationOf(w, operationId);
    expect(operation.state).toBe("failed");
    expect(steps[0]).toMatchObject({ state: "failed", attempts: MAX_STEP_ATTEMPTS });
    expect(operation.reason).toContain(`given up after ${MAX_STEP_ATTEMPTS} attempts`);
  });
});

test("operations of one tenant take turns in the order in which they were asked for, also while the first one waits (H51)", async () => {
  const w = world();
  const { cluster, nodeIds } = await makeCluster();
  const { tenantId, operationId } = await requestTenant(cluster, "acme");
  await runOperation(w.ports, operationId);
  const ask = async (kind: "tenant-routes" | "tenant-policy"): Promise<string> => {
    const wanted = { kind, subjectId: tenantId, tenantId, now: new Date(0) } as const;
    return (await w.db.transaction((tx) => enqueueOperation(tx, wanted))).operationId;
  };
  const [first, second] = [await ask("tenant-routes"), await ask("tenant-policy")];
  const stateOf = async (id: string) => (await operationOf(w, id)).operation;
  await nodeOf(nodeIds).behave({ kind: "silent", online: false, enrolled: true });
  await runOperation(w.ports, first);
  expect(await stateOf(first)).toMatchObject({ state: "pending", reason: "the node is offline" });
  await runOperation(w.ports, second);
  expect(await stateOf(second)).toMatchObject({ state: "pending", startedAt: null });

  await nodeOf(nodeIds).behave({ kind: "live" });
  w.advance(1_000);
  w.sent.length = 0;
  await runOperation(w.ports, first);
  expect(await stateOf(first)).toMatchObject({ state: "succeeded" });
  // Nobody has to wait for the cron.
  expect(w.sent).toEqual([{ message: { kind: "operation", operationId: second }, delaySeconds: 0 }]);
  await runOperation(w.ports, second);
  expect(await stateOf(second)).toMatchObject({ state: "succeeded" });
});

test("a host that the directory holds for somebody else stays theirs, and who wants it fails with the reason (H52)", async () => {
  const w = world();
  const { cluster } = await makeCluster();
  const owner = await requestTenant(cluster, "owner");
  await runOperation(w.ports, owner.operationId);
  const other = await requestTenant(cluster, "other");
  const record = await lookup(owner.host);
  if (record === null) throw new Error("the owner is not published");
  await bindings.DIRECTORY.getByName(directoryShard(other.host)).publish({ ...record, host: other.host });
  await runOperation(w.ports, other.operationId);
  expect((await operationOf(w, other.operationId)).operation).toMatchObject({
    state: "failed",
    reason: `the host ${other.host} belongs to another tenant`,
  });
  expect((await lookup(other.host))?.tenantId).toBe(owner.tenantId);
});

describe("a node", () => {
  test("that rejects the configuration fails the operation with Envoy's own words, and nobody else's (H36)", async () => {
    const w = world();
    const { cluster, nodeIds } = await makeCluster([10, 0]);
    const well = await requestTenant(cluster, "well");
    await runOperation(w.ports, well.operationId);
    await nodeOf(nodeIds).behave({ kind: "rejects", reason: "duplicate domain in virtual_hosts" });
    const ill = await requestTenant(cluster, "ill");
    await runOperation(w.ports, ill.operationId);
    expect((await operationOf(w, ill.operationId)).operation).toMatchObject({
      state: "failed",
      reason: "the node rejected the configuration: duplicate domain in virtual_hosts",
    });
    expect((await lookup(ill.host))?.state).toBe("failed");
    const services = await w.admin`select distinct status from control.services where tenant_id = ${ill.tenantId}`;
    expect(services.map(({ status }) => status)).toEqual(["UNAVAILABLE"]);
    expect((await lookup(well.host))?.state).toBe("active");

    // Tried again it is asked anew, with a revision of its own (E04).
    const before = (await nodeOf(nodeIds).seen()).changes.length;
    await nodeOf(nodeIds).behave({ kind: "live" });
    await w.db.transaction((tx) => retryOperation(tx, ill.operationId, new Date()));
    await runOperation(w.ports, ill.operationId);
    expect((await lookup(ill.host))?.state).toBe("active");
    const pushed = (await nodeOf(nodeIds).seen()).changes.flatMap((change) =>
      change.kind === "put" && change.tenant.tenantId === ill.tenantId ? [change.tenant.revision] : [],
    );
    expect((await nodeOf(nodeIds).seen()).changes.length).toBe(before + 1);
    expect(new Set(pushed).size).toBe(2);
  });

  test("that is offline is waited for, without failed attempts, and then the tenant comes up", async () => {
    const w = world();
    const { cluster, nodeIds } = await makeCluster();
    const { operationId, host } = await requestTenant(cluster, "acme");
    await nodeOf(nodeIds).behave({ kind: "silent", online: false, enrolled: true });
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation).toMatchObject({
      state: "pending",
      attempts: 0,
      reason: "the node is offline",
    });
    expect((await lookup(host))?.state).toBe("provisioning");
    await nodeOf(nodeIds).behave({ kind: "live" });
    w.advance(1_000);
    await runOperation(w.ports, operationId);
    expect((await lookup(host))?.state).toBe("active");
  });

  test("that never comes is given up in the end", async () => {
    const w = world();
    const { cluster, nodeIds } = await makeCluster();
    const { operationId } = await requestTenant(cluster, "acme");
    await nodeOf(nodeIds).behave({ kind: "silent", online: false, enrolled: false });
    await runOperation(w.ports, operationId);
    w.advance(MAX_WAIT_MS);
    await runOperation(w.ports, operationId);
    const { operation } = await operationOf(w, operationId);
    expect(operation.state).toBe("failed");
    expect(operation.reason).toContain("the node has not enrolled yet");
  });

  test("takes as many tenants as it has room for, however many come at once (H54)", async () => {
    const w = world();
    const { cluster, nodeIds } = await makeCluster([5]);
    const made = [];
    for (let n = 0; n < 5; n++) made.push(await requestTenant(cluster, `tenant-${n}`));
    await w.admin`update control.nodes set capacity = 2 where id = ${nodeIds[0] ?? ""}`;
    await Promise.all(made.map(({ operationId }) => runOperation(w.ports, operationId)));
    const states = await Promise.all(
      made.map(async ({ operationId }) => (await operationOf(w, operationId)).operation),
    );
    expect(states.filter(({ state }) => state === "succeeded")).toHaveLength(2);
    expect(states.filter(({ reason }) => reason === "no node has room for another tenant")).toHaveLength(3);
  });

  test("asked for by name is the one that is used, also if another has more room (G50)", async () => {
    const w = world();
    const { cluster, nodeIds } = await makeCluster([100, 3]);
    const { tenantId, operationId } = await requestTenant(cluster, "acme", `${cluster}-n1`);
    await runOperation(w.ports, operationId);
    expect((await tenantRow(w, tenantId))?.nodeId).toBe(nodeIds[1]);
  });
});

describe("a run that dies", () => {
  test("is taken over when its lease is over, from the step that it was in", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { operationId, host } = await requestTenant(cluster, "acme");
    const claim = await claimOperation(w.db, operationId, "lease-of-the-dead", new Date());
    if (claim.kind !== "claimed") throw new Error("not claimed");
    await beginStep(w.db, claim.run, 0, new Date());
    await runOperation(w.ports, operationId);
    expect(await lookup(host)).toBeNull();
    w.advance(LEASE_MS + 1);
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation.state).toBe("succeeded");
    // Should it wake up, it can't write any more.
    await expect(fenced(w.db, claim.run, async () => "written")).rejects.toThrow(LeaseLost);
    await expect(beginStep(w.db, claim.run, 1, new Date())).rejects.toThrow(LeaseLost);
  });
});

describe("lost messages", () => {
  test("are made up for by the sweep: an outbox row that was never sent, and a run that died", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const unsent = await requestTenant(cluster, "unsent");
    const died = await requestTenant(cluster, "died");
    await w.admin`update control.outbox set sent_at = now() where operation_id = ${died.operationId}`;
    await claimOperation(w.db, died.operationId, "lease-of-the-dead", new Date());
    // In the very moment of the commit the message is still on its way.
    w.advance(-60_000);
    await sweep(w.ports);
    const ids = () => w.sent.map(({ message }) => message.operationId);
    expect(ids()).not.toContain(unsent.operationId);
    // Just restarted: the dead run's lease is still on, so its message comes when that is over.
    w.advance(64_000);
    await sweep(w.ports);
    expect(ids()).toEqual(expect.arrayContaining([unsent.operationId, died.operationId]));
    const again = w.sent.find(({ message }) => message.operationId === died.operationId);
    expect(again?.delaySeconds).toBeGreaterThan(1);
    w.advance(LEASE_MS + 60_000);
    for (const { operationId } of [unsent, died]) await runOperation(w.ports, operationId);
    w.sent.length = 0;
    await sweep(w.ports);
    expect(ids()).not.toEqual(expect.arrayContaining([unsent.operationId]));
    expect(ids()).not.toEqual(expect.arrayContaining([died.operationId]));
  });

  test("cron, queue and worker together bring a forgotten tenant up", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { operationId, host } = await requestTenant(cluster, "acme");
    await w.admin`update control.outbox set created_at = now() - interval '1 minute' where operation_id = ${operationId}`;
    await worker.scheduled(createScheduledController(), workerEnv);
    await vi.waitFor(async () => expect((await lookup(host))?.state).toBe("active"), { timeout: 15_000, interval: 50 });
    const [row] = await w.admin`select sent_at from control.outbox where operation_id = ${operationId}`;
    expect(row?.["sent_at"]).not.toBeNull();
  });
});

describe("a creation that is cancelled in whichever step", () => {
  test("leaves nothing of the tenant, also by a run that was in the middle of it (H52)", async () => {
    const w = world();
    const { cluster, nodeIds } = await makeCluster();
    for (const [position, step] of PLANS["tenant-create"].entries()) {
      const { tenantId, operationId, host } = await requestTenant(cluster, `cancelled-${position}`);
      const held = await holdAt(w, operationId, position);
      const cancelled = await w.db.transaction((tx) => cancelOperation(tx, operationId, new Date(w.ports.clock() - 1)));
      if (!cancelled.ok || cancelled.value.rollback === null) throw new Error("not cancelled");
      const late = held.step(held.context);
      // A step may be done in the middle of the rollback, and before or after it.
      await Promise.allSettled([late, settle(w, cancelled.value.rollback.operationId)]);
      await settle(w, cancelled.value.rollback.operationId);
      expect(await lookup(host), step).toBeNull();
      expect(await tenantRow(w, tenantId), step).toBeUndefined();
      const [left] = await w.admin`select
        (select count(*)::int from pg_namespace where nspname = ${tenantId}) as schemas,
        (select count(*)::int from pg_roles where rolname like ${`${tenantId}%`}) as roles`;
      expect(left, step).toEqual({ schemas: 0, roles: 0 });
      const { changes } = await nodeOf(nodeIds).seen();
      const last = changes.findLast((one) => (one.kind === "put" ? one.tenant.tenantId : one.tenantId) === tenantId);
      expect(last?.kind ?? "remove", step).toBe("remove");
      expect((await operationOf(w, operationId)).operation.reason).toMatch(/^cancelled/);
    }
  });
});

describe("dead letters", () => {
  test("fail the operation with the reason; a finished one stays as it is (H52)", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const broken = await requestTenant(cluster, "broken");
    const fine = await requestTenant(cluster, "fine");
    await runOperation(w.ports, fine.operationId);
    const batch = createMessageBatch(
      "causeway-provisioning-dead",
      [broken, fine].map(({ operationId }, index) => ({
        id: String(index),
        timestamp: new Date(),
        attempts: 1,
        body: { kind: "operation", operationId },
      })),
    );
    const context = createExecutionContext();
    await worker.queue(batch, workerEnv);
    expect((await getQueueResult(batch, context)).explicitAcks.toSorted()).toEqual(["0", "1"]);
    const { operation } = await operationOf(w, broken.operationId);
    expect(operation).toMatchObject({ state: "failed", reason: expect.stringContaining("dead-lettered") });
    expect(operation.deadLetteredAt).not.toBeNull();
    expect((await tenantRow(w, broken.tenantId))?.state).toBe("failed");
    expect((await operationOf(w, fine.operationId)).operation.state).toBe("succeeded");
    expect((await lookup(fine.host))?.state).toBe("active");
  });
});

test("a step's reason never holds a query's parameters (Q05)", async () => {
  const w = world();
  const { cluster } = await makeCluster();
  const { operationId } = await requestTenant(cluster, "acme");
  // Sealed under another key: it can't be opened.
  await w.admin`insert into control.credentials (tenant_id, kind, sealed)
    select subject_id, 'database', 'v1.AAAA.not-a-secret' from control.operations where id = ${operationId}`;
  await runOperation(w.ports, operationId);
  const step = await stepOf(w, operationId, "schema");
  expect(step?.reason).toContain("can't be opened");
  expect(JSON.stringify([step, w.logs])).not.toContain("not-a-secret");
});
