import { exports } from "cloudflare:workers";
import { inject } from "vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { operationEvents } from "../../../src/console/operation-events.ts";
import { EVENTS_HEARTBEAT_MS } from "../../../src/console/limits.ts";
import type { ConsolePorts } from "../../../src/console/ports.ts";
import { connect } from "../../../src/db/client.ts";
import { createLogger } from "../../../src/shared/log.ts";
import { call, noMembers, type Item, makeCluster, makeNode, unique } from "./api.ts";

const admin = connectSql(inject("database").adminUrl, 2);
let cluster: string;
beforeAll(async () => {
  cluster = await makeCluster();
  await makeNode(cluster, 100);
});

const newOperation = async () => {
  const { body } = await call("POST", "/api/v1/tenants", { body: { slug: unique("acme"), cluster } });
  return body;
};

/** Reads events until `until` says so or the stream ends. */
async function readEvents(stream: ReadableStream<Uint8Array>, until: (text: string) => boolean): Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += decoder.decode(value, { stream: true });
    if (until(text)) {
      await reader.cancel();
      return text;
    }
  }
}

describe("progress as server-sent events", () => {
  const open = (id: string) =>
    exports.default.fetch(`http://console.test/api/v1/operations/${id}/events`, {
      headers: { authorization: `Bearer ${inject("database").readToken}` },
    });

  test("each change is an event; the stream ends with the operation", async () => {
    const { operation } = await newOperation();
    const response = await open(operation.id);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    if (response.body === null) throw new Error("no body");
    const [first, rest] = response.body.tee();
    const opening = await readEvents(first, (text) => text.includes("\n\n"));
    expect(opening).toMatch(/^event: operation\ndata: \{"id":"op_/);
    await admin`update control.operation_steps set state = 'done' where operation_id = ${operation.id} and position = 0`;
    await admin`update control.operations set state = 'succeeded', finished_at = now() where id = ${operation.id}`;
    const all = await readEvents(rest, () => false);
    const events = all
      .split("\n\n")
      .filter((event) => event.startsWith("event: operation"))
      .map((event) => JSON.parse(event.slice(event.indexOf("data: ") + 6)));
    expect(events[0].state).toBe("pending");
    expect(events.at(-1)).toMatchObject({ state: "succeeded" });
    expect(events.at(-1).steps[0].state).toBe("done");
  });

  test("of an operation that has ended: one event, then the end; of an unknown one: 404; without a token: 401", async () => {
    const { operation } = await newOperation();
    await admin`update control.operations set state = 'failed', reason = 'no luck' where id = ${operation.id}`;
    const text = await (await open(operation.id)).text();
    expect(text.match(/^event: /gm)).toHaveLength(1);
    expect(text).toContain("no luck");
    expect((await open("op_nothing")).status).toBe(404);
    expect((await call("GET", `/api/v1/operations/${operation.id}/events`, { as: null })).status).toBe(401);
  });

  test("silence is filled with heartbeats", async () => {
    const { operation } = await newOperation();
    let nowMs = 0;
    const ports: ConsolePorts = {
      db: connect(inject("database").consoleUrl, 1).db,
      send: async () => {},
      members: noMembers,
      lanes: () => [],
      jobWorker: () => expect.unreachable("no job is asked for"),
      clock: () => nowMs,
      sleep: async () => void (nowMs += EVENTS_HEARTBEAT_MS),
      log: createLogger("console", () => {}),
      waitUntil: () => {},
    };
    const text = await readEvents(operationEvents(ports, operation), (seen) => seen.includes(": still there"));
    expect(text.match(/^event: /gm)).toHaveLength(1);
  });
});

describe("operations", () => {
  test("are listed newest first, by tenant, subject and state", async () => {
    const { tenant, operation } = await newOperation();
    const other = await newOperation();
    const ids = async (query: string) =>
      (await call("GET", `/api/v1/operations?${query}`)).body.items.map(({ id }: Item) => id);
    expect(await ids(`tenant=${tenant.name}`)).toEqual([operation.id]);
    expect(await ids(`subject=${tenant.id}&state=pending`)).toEqual([operation.id]);
    expect(await ids(`subject=${tenant.id}&state=failed`)).toEqual([]);
    const first = await call("GET", "/api/v1/operations?limit=1");
    expect(first.body.items[0].id).toBe(other.operation.id);
    expect(await ids(`limit=1&cursor=${first.body.nextCursor}`)).toEqual([operation.id]);
    expect((await call("GET", "/api/v1/operations/op_nothing")).body.code).toBe("not-found");
  });

  test("that failed can be tried again, others can't (H52)", async () => {
    const { operation, tenant } = await newOperation();
    const retry = () => call("POST", `/api/v1/operations/${operation.id}/retry`);
    expect((await retry()).body).toMatchObject({ status: 409, code: "conflict" });
    await admin`update control.operations set state = 'failed', reason = 'x', attempts = 8, dead_lettered_at = now() where id = ${operation.id}`;
    await admin`update control.operation_steps set state = 'failed', attempts = 8 where operation_id = ${operation.id} and position = 1`;
    await admin`update control.operation_steps set state = 'done' where operation_id = ${operation.id} and position = 0`;
    await admin`update control.tenants set state = 'failed' where id = ${tenant.id}`;
    const reply = await retry();
    expect(reply.status).toBe(202);
    expect(reply.body.operation).toMatchObject({ state: "pending", attempts: 0, reason: null, deadLettered: false });
    expect(reply.body.operation.steps.slice(0, 2)).toMatchObject([
      { state: "done" },
      { state: "pending", attempts: 0 },
    ]);
    const { body } = await call("GET", `/api/v1/tenants/${tenant.name}`);
    expect(body.state).toBe("provisioning");
    expect(body.revision).toBeGreaterThan(tenant.revision);
  });

  test("that a later one has overtaken can't be tried again", async () => {
    const { operation, tenant } = await newOperation();
    await admin`update control.operations set state = 'failed' where id = ${operation.id}`;
    await admin`update control.tenants set state = 'failed' where id = ${tenant.id}`;
    expect((await call("DELETE", `/api/v1/tenants/${tenant.name}`)).status).toBe(202);
    expect((await call("POST", `/api/v1/operations/${operation.id}/retry`)).body).toMatchObject({
      status: 409,
      detail: expect.stringContaining("later operation"),
    });
  });
});

describe("cancel", () => {
  const cancel = (id: string) => call("POST", `/api/v1/operations/${id}/cancel`);

  test("takes back a tenant that is being made, and one that could not be made, by a deletion (H52)", async () => {
    for (const failed of [false, true]) {
      const { operation, tenant } = await newOperation();
      if (failed) {
        await admin`update control.operations set state = 'failed', reason = 'x' where id = ${operation.id}`;
        await admin`update control.tenants set state = 'failed' where id = ${tenant.id}`;
      }
      const reply = await cancel(operation.id);
      expect(reply.status).toBe(202);
      expect(reply.body.operation.state).toBe("failed");
      expect(reply.body.rollback).toMatchObject({ kind: "tenant-delete", subjectId: tenant.id, state: "pending" });
      expect(reply.headers.get("location")).toBe(`/api/v1/operations/${reply.body.rollback.id}`);
      if (!failed) expect(reply.body.operation.reason).toMatch(/^cancelled: .*taken back/);
      const [row] = await admin`select state from control.tenants where id = ${tenant.id}`;
      expect(row?.["state"]).toBe("deleting");
      // It is not made after all by a retry, nor taken back twice, and the deletion itself goes through.
      expect((await call("POST", `/api/v1/operations/${operation.id}/retry`)).body.code).toBe("conflict");
      expect((await cancel(operation.id)).body.code).toBe("conflict");
      expect((await cancel(reply.body.rollback.id)).body.detail).toContain("tenant-delete can't be cancelled");
    }
  });

  const makeActive = async () => {
    const { operation, tenant } = await newOperation();
    await admin`update control.operations set state = 'succeeded' where id = ${operation.id}`;
    await admin`update control.operation_steps set state = 'done' where operation_id = ${operation.id}`;
    await admin`update control.tenants set state = 'active' where id = ${tenant.id}`;
    return tenant;
  };

  test("of a change of routes brings the old ones back, at node and directory as far as it had begun there", async () => {
    const tenant = await makeActive();
    const path = `/api/v1/tenants/${tenant.name}/routes`;
    const before = (await call("GET", path)).body.items;
    const routes = (prefix: string) =>
      call("PUT", path, { body: { items: [{ prefix, access: "public", to: { kind: "service", service: "app" } }] } });
    const change = (await routes("/new")).body.operation;
    expect((await routes("/other")).body.code).toBe("conflict");
    // Nothing outside knows of it yet.
    const early = await cancel(change.id);
    expect(early.body).toMatchObject({
      operation: { state: "failed", reason: "cancelled: the tenant has the routes of before" },
      rollback: null,
    });
    expect((await call("GET", path)).body.items).toEqual(before);

    const second = (await routes("/new")).body.operation;
    await admin`update control.operations set state = 'running', lease_token = 'x' where id = ${second.id}`;
    await admin`update control.operation_steps set state = 'running', started_at = now()
      where operation_id = ${second.id} and name = 'push'`;
    const reply = await cancel(second.id);
    expect(reply.body.rollback).toMatchObject({ kind: "tenant-change-undo", steps: [{ name: "settle-node" }] });
    expect(reply.headers.get("location")).toBe(`/api/v1/operations/${reply.body.rollback.id}`);
    expect((await call("GET", path)).body.items).toEqual(before);
    const [row] = await admin`select lease_token from control.operations where id = ${second.id}`;
    expect(row?.["lease_token"]).toBeNull();
    // Its outcome would be out of date, and what takes it back has to come to its end.
    expect((await call("POST", `/api/v1/operations/${second.id}/retry`)).body.code).toBe("conflict");
    expect((await cancel(second.id)).body.code).toBe("conflict");
    expect((await cancel(reply.body.rollback.id)).body.code).toBe("conflict");
    const [event] =
      await admin`select details from control.audit_events where action = 'operation.cancel' and subject_id = ${second.id}`;
    expect(event?.["details"]).toEqual({ kind: "tenant-routes", rollback: reply.body.rollback.id });
  });

  test("of a change of services brings them back with the routes that came with them", async () => {
    const tenant = await makeActive();
    const at = `/api/v1/tenants/${tenant.name}`;
    const shown = async () => {
      const [routes, services] = [await call("GET", `${at}/routes`), await call("GET", `${at}/services`)];
      return [routes.body.items, services.body.items.map(({ name, stopped }: Item) => [name, stopped])];
    };
    const before = await shown();
    await admin`insert into control.service_catalogue (cluster_id, name, driver, routes)
      select cluster_id, 'extra', '{"kind":"external","address":"127.0.0.1","port":9}', '[{"prefix":"/extra","access":"public"}]'
      from control.tenants where id = ${tenant.id}`;
    const added = (await call("PUT", `${at}/services/extra`)).body.operation;
    expect(await shown()).not.toEqual(before);
    expect((await cancel(added.id)).body.operation.reason).toContain("services and routes of before");
    expect(await shown()).toEqual(before);
    const stopped = (await call("POST", `${at}/services/app/stop`)).body.operation;
    await cancel(stopped.id);
    expect(await shown()).toEqual(before);
  });

  test("is too late once visitors, or services, have what is new", async () => {
    for (const [change, step] of [
      [{ method: "PUT", path: "routes", body: { items: [] } }, "publish"],
      [{ method: "POST", path: "services/app/stop" }, "publish"],
      [{ method: "POST", path: "credentials/rotate" }, "switch-login"],
    ] as const) {
      const tenant = await makeActive();
      const body = "body" in change ? { body: change.body } : {};
      const { operation } = (await call(change.method, `/api/v1/tenants/${tenant.name}/${change.path}`, body)).body;
      await admin`update control.operation_steps set state = 'done' where operation_id = ${operation.id} and name = ${step}`;
      const refused = await cancel(operation.id);
      expect(refused.body).toMatchObject({
        status: 409,
        code: "conflict",
        detail: expect.stringContaining("too late"),
      });
      expect(refused.body.detail).toContain(`step ${step} is done`);
      const [row] = await admin`select state from control.operations where id = ${operation.id}`;
      expect(row?.["state"]).toBe("pending");
    }
  });

  test("is refused where half done would be worse, after the end, of what is unknown, and to readers", async () => {
    const { operation, tenant } = await newOperation();
    await admin`update control.operations set state = 'succeeded' where id = ${operation.id}`;
    await admin`update control.tenants set state = 'active' where id = ${tenant.id}`;
    const suspend = (await call("POST", `/api/v1/tenants/${tenant.name}/suspend`)).body.operation;
    expect((await cancel(suspend.id)).body.detail).toContain("must not stay half done");
    expect((await cancel(operation.id)).body.detail).toContain("has ended");
    expect((await cancel("op_nothing")).status).toBe(404);
    expect((await call("POST", `/api/v1/operations/${suspend.id}/cancel`, { as: "read" })).status).toBe(403);
  });
});

test("a rotation of the database's login is an operation; not of a tenant that is being made, nor for readers", async () => {
  const { operation, tenant } = await newOperation();
  const path = `/api/v1/tenants/${tenant.name}/credentials/rotate`;
  expect((await call("POST", path)).body.code).toBe("conflict");
  await admin`update control.operations set state = 'succeeded' where id = ${operation.id}`;
  await admin`update control.tenants set state = 'active' where id = ${tenant.id}`;
  expect((await call("POST", path, { as: "read" })).status).toBe(403);
  const reply = await call("POST", path);
  expect(reply.status).toBe(202);
  expect(reply.body.operation).toMatchObject({ kind: "tenant-rotate-credentials", tenantId: tenant.id });
  const cancelled = await call("POST", `/api/v1/operations/${reply.body.operation.id}/cancel`);
  expect(cancelled.body.operation.reason).toContain("keep their login of the database");
});

test("the audit trail can't be changed by the console's own role", async () => {
  const own = connectSql(inject("database").consoleUrl, 1);
  await expect(own`update control.audit_events set action = 'x'`).rejects.toMatchObject({ code: "42501" });
  await expect(own`delete from control.audit_events`).rejects.toMatchObject({ code: "42501" });
});
