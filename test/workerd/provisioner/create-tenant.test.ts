import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { eq } from "drizzle-orm";
import { describe, expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { enqueueOperation } from "../../../src/db/operations.ts";
import { tenants } from "../../../src/db/schema.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { claimOperation } from "../../../src/provisioner/store.ts";
import worker from "../../../src/provisioner/worker.ts";
import {
  bindings,
  databaseUrlOf,
  lookup,
  makeCluster,
  operationOf,
  requestTenant,
  tenantRow,
  workerEnv,
  world,
} from "./support.ts";

const STEPS = ["reserve-host", "schema", "choose-node", "push", "credentials", "publish", "activate"];

describe("creating a tenant", () => {
  test("everything exists, in order, within two seconds (H50, G10, D13)", async () => {
    const w = world();
    const { cluster, domain, nodeIds } = await makeCluster();
    const { tenantId, operationId, host } = await requestTenant(cluster, "acme");
    const startedMs = Date.now();
    await runOperation(w.ports, operationId);
    expect(Date.now() - startedMs).toBeLessThan(2_000);

    const { operation, steps } = await operationOf(w, operationId);
    expect(operation).toMatchObject({ state: "succeeded", attempts: 0, reason: null, leaseToken: null });
    expect(steps.map(({ name, state }) => [name, state])).toEqual(STEPS.map((name) => [name, "done"]));
    const times = steps.flatMap(({ startedAt, finishedAt }) => [startedAt?.getTime(), finishedAt?.getTime()]);
    expect(times).toEqual(times.toSorted((a, b) => (a ?? 0) - (b ?? 0)));

    expect(host).toBe(`acme.${domain}`);
    expect(await lookup(host)).toMatchObject({
      tenantId,
      slug: "acme",
      cluster,
      state: "active",
      node: { id: nodeIds[0], url: "http://127.0.0.1:10000" },
      routes: [
        { prefix: "/app", access: "public", to: { kind: "service", service: "app" } },
        { prefix: "/connectors" },
        { prefix: "/manager" },
      ],
    });
    expect(await tenantRow(w, tenantId)).toMatchObject({ state: "active", nodeId: nodeIds[0] });
    const statuses = await w.admin`select name, status from control.services where tenant_id = ${tenantId} order by 1`;
    expect(statuses.map(({ name, status }) => [name, status])).toEqual([
      ["app", "RUNNING"],
      ["connectors", "RUNNING"],
      ["manager", "RUNNING"],
    ]);
    const [trail] =
      await w.admin`select actor from control.audit_events where tenant_id = ${tenantId} and action = 'operation.succeeded'`;
    expect(trail).toEqual({ actor: "system:provisioner" });
  });

  test("its services can log in to its schema with what the node was given, and only the one that needs it (H50)", async () => {
    const w = world();
    const { cluster, nodeIds } = await makeCluster();
    const { tenantId, operationId } = await requestTenant(cluster, "acme");
    await runOperation(w.ports, operationId);
    const { changes } = await bindings.NODE_CHANNEL.getByName(nodeIds[0] ?? "").seen();
    expect(changes).toHaveLength(1);
    const [change] = changes;
    if (change?.kind !== "put") throw new Error("no put");
    expect(change.tenant.services.map(({ name, workspace }) => [name, workspace])).toEqual([
      ["app", "default"],
      ["connectors", "default"],
      ["manager", "default"],
    ]);
    expect(change.tenant.services.filter(({ secrets }) => "DATABASE_URL" in secrets).map(({ name }) => name)).toEqual([
      "app",
    ]);
    const tenant = connectSql(databaseUrlOf(change.tenant), 1);
    await tenant`insert into settings (key, value) values ('a', '1')`;
    const [row] = await tenant`select current_user as role, (select count(*)::int from settings) as n`;
    expect(row).toEqual({ role: tenantId, n: 1 });
    // The password is at rest in one place, encrypted (Q05).
    const password = new URL(databaseUrlOf(change.tenant)).password;
    const [stored] = await w.admin`select sealed from control.credentials where tenant_id = ${tenantId}`;
    expect(stored?.["sealed"]).toMatch(/^v1\./);
    expect(JSON.stringify([stored, w.logs])).not.toContain(password);
  });

  test("a tenant whose name is a prefix of another's has its own host (H06)", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const longer = await requestTenant(cluster, "acme-2");
    const shorter = await requestTenant(cluster, "acme");
    for (const { operationId } of [longer, shorter]) await runOperation(w.ports, operationId);
    expect((await lookup(longer.host))?.tenantId).toBe(longer.tenantId);
    expect((await lookup(shorter.host))?.tenantId).toBe(shorter.tenantId);
  });
});

describe("messages", () => {
  test("the same message twice, at once, late and again makes one tenant (H51)", async () => {
    const w = world();
    const { cluster, nodeIds } = await makeCluster();
    const { tenantId, operationId, host } = await requestTenant(cluster, "acme");
    await Promise.all(Array.from({ length: 20 }, () => runOperation(w.ports, operationId)));
    const first = { record: await lookup(host), row: await tenantRow(w, tenantId) };
    expect(first.record?.state).toBe("active");
    await Promise.all(Array.from({ length: 5 }, () => runOperation(w.ports, operationId)));
    expect({ record: await lookup(host), row: await tenantRow(w, tenantId) }).toEqual(first);
    const { changes } = await bindings.NODE_CHANNEL.getByName(nodeIds[0] ?? "").seen();
    expect(changes).toHaveLength(1);
    const [counts] = await w.admin`select
      (select count(*)::int from control.workspaces where tenant_id = ${tenantId}) as workspaces,
      (select count(*)::int from control.hosts where tenant_id = ${tenantId}) as hosts,
      (select count(*)::int from pg_namespace where nspname = ${tenantId}) as schemas`;
    expect(counts).toEqual({ workspaces: 1, hosts: 1, schemas: 1 });
  });

  test("twenty claims at once: one gets the operation", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { operationId } = await requestTenant(cluster, "acme");
    const claims = await Promise.all(
      Array.from({ length: 20 }, (_, index) => claimOperation(w.db, operationId, `lease-${index}`, new Date())),
    );
    expect(claims.filter(({ kind }) => kind === "claimed")).toHaveLength(1);
    expect(claims.filter(({ kind }) => kind === "busy")).toHaveLength(19);
  });

  test("operations of one tenant run one after another, whatever the order of their messages", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { tenantId, operationId, host } = await requestTenant(cluster, "acme");
    // As if somebody suspended it before it was there: the later message comes first.
    const suspend = await w.db.transaction(async (tx) => {
      await tx.update(tenants).set({ accessRevision: 2 }).where(eq(tenants.id, tenantId));
      return enqueueOperation(tx, { kind: "tenant-suspend", subjectId: tenantId, tenantId, now: new Date(0) });
    });
    await runOperation(w.ports, suspend.operationId);
    expect((await operationOf(w, suspend.operationId)).operation.state).toBe("pending");
    await Promise.all([runOperation(w.ports, suspend.operationId), runOperation(w.ports, operationId)]);
    expect((await operationOf(w, operationId)).operation.state).toBe("succeeded");
    // The end of the first announces the second.
    expect(w.sent.map(({ message }) => message.operationId)).toContain(suspend.operationId);
    await w.db.update(tenants).set({ state: "suspended" }).where(eq(tenants.id, tenantId));
    await runOperation(w.ports, suspend.operationId);
    expect((await operationOf(w, suspend.operationId)).operation.state).toBe("succeeded");
    expect((await lookup(host))?.state).toBe("suspended");
  });

  test("an earlier operation that shows up late waits for the one that is running", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { tenantId, operationId } = await requestTenant(cluster, "acme");
    expect((await claimOperation(w.db, operationId, "lease-1", new Date())).kind).toBe("claimed");
    const late = await w.db.transaction((tx) =>
      enqueueOperation(tx, { kind: "tenant-suspend", subjectId: tenantId, tenantId, now: new Date(0) }),
    );
    await w.admin`update control.operations set seq = -seq where id = ${late.operationId}`;
    expect((await claimOperation(w.db, late.operationId, "lease-2", new Date())).kind).toBe("busy");
  });

  test("through the queue: a message for nothing and one that is no message are taken off", async () => {
    const bodies: unknown[] = [{ kind: "operation", operationId: "op_none" }, "nonsense"];
    const batch = createMessageBatch(
      "causeway-provisioning",
      bodies.map((body, at) => ({ id: String(at + 1), timestamp: new Date(), attempts: 1, body })),
    );
    const context = createExecutionContext();
    await worker.queue(batch, workerEnv);
    const result = await getQueueResult(batch, context);
    expect(result.explicitAcks.toSorted()).toEqual(["1", "2"]);
    expect(result.retryMessages).toEqual([]);
  });
});
