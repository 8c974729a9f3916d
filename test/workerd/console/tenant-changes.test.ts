import { inject } from "vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { call, type Item, makeCluster, makeNode, unique } from "./api.ts";

const admin = connectSql(inject("database").adminUrl, 2);

let cluster: string;
beforeAll(async () => {
  cluster = await makeCluster();
  await makeNode(cluster, 1_000);
});

/** Stands for the provisioner: whatever is open for the tenant has succeeded. */
const settle = (tenantId: string) =>
  admin`update control.operations set state = 'succeeded' where subject_id = ${tenantId} and state = 'pending'`;

/** A tenant whose creation has succeeded. */
async function makeTenant(options: { pushed?: boolean } = {}): Promise<{ id: string; slug: string; at: string }> {
  const slug = unique("acme");
  const { body } = await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
  await admin`update control.tenants set state = 'active' where id = ${body.tenant.id}`;
  if (options.pushed !== false)
    await admin`update control.operation_steps set state = 'done' where operation_id = ${body.operation.id}`;
  await settle(body.tenant.id);
  return { id: body.tenant.id, slug, at: `/api/v1/tenants/${slug}@${cluster}` };
}

const namesOf = (...names: readonly string[]) => names.map((name) => ({ name }));

const actionsOn = async (id: string): Promise<string[]> =>
  (await call("GET", `/api/v1/audit?subject=${id}`)).body.items.map(({ action }: Item) => action);

describe("suspend, resume, delete", () => {
  test("are operations, on record, and only from the right state", async () => {
    const { id, at } = await makeTenant();
    expect((await call("POST", `${at}/resume`)).body).toMatchObject({ status: 409, code: "conflict" });
    const suspended = await call("POST", `${at}/suspend`);
    expect([suspended.status, suspended.headers.get("location")]).toEqual([
      202,
      `/api/v1/operations/${suspended.body.operation.id}`,
    ]);
    expect(suspended.body).toMatchObject({
      operation: {
        kind: "tenant-suspend",
        steps: namesOf("publish", "publish-jobs", "settle-lanes", "settle-node", "settle-services"),
      },
      tenant: { state: "suspended" },
    });
    await settle(id);
    expect((await call("POST", `${at}/suspend`)).body.code).toBe("conflict");
    expect((await call("POST", `${at}/resume`)).body).toMatchObject({
      operation: {
        kind: "tenant-resume",
        steps: namesOf("settle-node", "settle-lanes", "publish", "publish-jobs", "settle-services"),
      },
      tenant: { state: "active" },
    });
    await settle(id);
    expect((await call("DELETE", at)).body).toMatchObject({
      operation: { kind: "tenant-delete" },
      tenant: { state: "deleting" },
    });
    expect((await call("DELETE", at)).status).toBe(409);
    expect(await actionsOn(id)).toEqual(["tenant.delete", "tenant.resume", "tenant.suspend", "tenant.create"]);
  });

  test("suspend and resume are refused while another operation of the tenant is under way; delete cancels it", async () => {
    const { id, at } = await makeTenant();
    const { body } = await call("POST", `${at}/suspend`);
    const refused = await call("POST", `${at}/resume`);
    expect(refused.body).toMatchObject({ status: 409, code: "conflict" });
    expect(refused.body.detail).toContain(body.operation.id);
    expect((await call("GET", at)).body.state).toBe("suspended");
    expect((await call("DELETE", at, { headers: { "if-match": '"1"' } })).status).toBe(412);
    const at1 = `/api/v1/operations/${body.operation.id}`;
    expect((await call("GET", at1)).body.state).toBe("pending");
    expect((await call("DELETE", at)).status).toBe(202);
    expect((await call("GET", at1)).body.state).toBe("failed");
    expect(await actionsOn(id)).toEqual(["tenant.delete", "tenant.suspend", "tenant.create"]);
  });

  test("a tenant whose creation is under way can be deleted: the creation is cancelled for good (H56)", async () => {
    const slug = unique("acme");
    const { body } = await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
    const deleted = await call("DELETE", `/api/v1/tenants/${slug}@${cluster}`);
    expect(deleted.body).toMatchObject({
      operation: { kind: "tenant-delete", state: "pending" },
      tenant: { state: "deleting" },
    });
    const creation = `/api/v1/operations/${body.operation.id}`;
    expect((await call("GET", creation)).body).toMatchObject({
      state: "failed",
      reason: "cancelled: tenant-delete was asked for",
      nextAttemptAt: null,
    });
    expect((await call("POST", `${creation}/retry`)).status).toBe(409);
    const trail = await call("GET", `/api/v1/audit?subject=${body.tenant.id}`);
    expect(trail.body.items[0]).toMatchObject({
      action: "tenant.delete",
      details: { slug, cancelled: [body.operation.id] },
    });
  });

  test("of many at once one is taken, and a repeated request with its key gets the first answer", async () => {
    const { id, at } = await makeTenant();
    const replies = await Promise.all(Array.from({ length: 10 }, () => call("POST", `${at}/suspend`)));
    expect(replies.filter(({ status }) => status === 202)).toHaveLength(1);
    expect(replies.filter(({ status }) => status === 409)).toHaveLength(9);
    await settle(id);
    const headers = { "idempotency-key": unique("key") };
    const first = await call("POST", `${at}/resume`, { headers });
    expect((await call("POST", `${at}/resume`, { headers })).body).toEqual(first.body);
    expect(await actionsOn(id)).toHaveLength(3);
  });

  test("need the version that was read, if they name one", async () => {
    const { at } = await makeTenant();
    const headers = { "if-match": '"1"' };
    expect((await call("POST", `${at}/suspend`, { headers })).body.code).toBe("precondition-failed");
    expect((await call("DELETE", at, { headers })).body.code).toBe("precondition-failed");
    const etag = (await call("GET", at)).headers.get("etag") ?? "";
    expect((await call("POST", `${at}/suspend`, { headers: { "if-match": etag } })).status).toBe(202);
  });
});

describe("routes", () => {
  const app = { prefix: "/app", access: "public", to: { kind: "service", service: "app" } };
  const locked = { prefix: "/private", access: "member", to: { kind: "service", service: "app" } };
  const plant = { prefix: "/plant", access: "member", to: { kind: "target", target: "plc" } };

  test("are replaced as a whole, with the version that was read, on record", async () => {
    const { id, at } = await makeTenant();
    const read = await call("GET", `${at}/routes`);
    expect(read.body.items).toEqual([app, locked]);
    const headers = { "if-match": read.headers.get("etag") ?? "" };
    const changed = await call("PUT", `${at}/routes`, {
      body: { items: [{ ...app, access: "member" }, plant] },
      headers,
    });
    expect(changed.status).toBe(202);
    expect(changed.body.operation).toMatchObject({
      kind: "tenant-routes",
      steps: [{ name: "publish" }, { name: "push" }],
    });
    expect((await call("GET", `${at}/routes`)).body.items).toEqual([{ ...app, access: "member" }, plant]);
    const trail = await call("GET", `/api/v1/audit?subject=${id}`);
    expect(trail.body.items[0]).toMatchObject({
      action: "tenant.routes",
      details: { added: ["/plant"], changed: ["/app"], removed: ["/private"] },
    });
    await settle(id);
    expect((await call("PUT", `${at}/routes`, { body: { items: [] }, headers })).body.code).toBe("precondition-failed");
  });

  test("the node is told again when it missed the last change", async () => {
    const { id, at } = await makeTenant({ pushed: false });
    const set = (items: unknown[]) => call("PUT", `${at}/routes`, { body: { items } });
    const stepsOf = async (items: unknown[]) => (await set(items)).body.operation.steps.map(({ name }: Item) => name);
    expect(await stepsOf([app, locked])).toEqual(["push", "publish"]);
    await admin`update control.operation_steps set state = 'done'
      where operation_id in (select id from control.operations where subject_id = ${id})`;
    await settle(id);
    expect(await stepsOf([app, locked])).toEqual(["publish"]);
    expect((await set([])).body.code).toBe("conflict");
    await settle(id);
    expect(await stepsOf([app, locked, { ...app, prefix: "/more" }])).toEqual(["push", "publish"]);
    await admin`update control.operations set state = 'failed' where subject_id = ${id} and state = 'pending'`;
    expect(await stepsOf([app])).toEqual(["push", "publish"]);
  });

  test.each([
    ["the same prefix twice", [app, { ...app, access: "member" }], /items\.1\.prefix.*earlier route/],
    ["a service that it does not have", [{ ...app, to: { kind: "service", service: "none" } }], /no service "none"/],
    ["a bad target name", [{ ...plant, to: { kind: "target", target: "a--b" } }], /hyphens/],
    ["the platform's own paths", [{ ...plant, prefix: "/.causeway/callback" }], /belongs to the platform/],
    ["dot segments", [{ ...plant, prefix: "/a/../b" }], /dot/],
    ["an unknown access mode", [{ ...plant, access: "nobody" }], /access/],
    ["too many", Array.from({ length: 201 }, (_, n) => ({ ...plant, prefix: `/p${n}` })), /200/],
  ])("with %s are refused and stay as they were", async (_, items, detail) => {
    const { id, at } = await makeTenant();
    const before = (await call("GET", at)).body;
    const reply = await call("PUT", `${at}/routes`, { body: { items } });
    expect(reply.body).toMatchObject({ status: 400, code: "bad-request", detail: expect.stringMatching(detail) });
    expect((await call("GET", `${at}/routes`)).body.items).toEqual([app, locked]);
    expect((await call("GET", at)).body).toEqual(before);
    expect(await actionsOn(id)).toEqual(["tenant.create"]);
  });
});

describe("ending sessions", () => {
  const accessOf = async (id: string) =>
    (await admin`select access_revision as revision, not_before as people from control.tenants where id = ${id}`)[0];

  test("of one person keeps the others'; of everybody raises the access revision; both are on record", async () => {
    const { id, at } = await makeTenant();
    const revoke = (body: unknown) => call("POST", `${at}/sessions/revoke`, { body });
    const one = await revoke({ accountId: "Ann1" });
    expect(one.status).toBe(202);
    expect(one.body).toMatchObject({
      operation: { kind: "tenant-revoke-sessions", steps: [{ name: "publish" }] },
      tenant: { state: "active", accessRevision: 1 },
    });
    // Not refused while another operation is under way: nobody has to try again to get somebody out.
    expect((await revoke({ accountId: "constructor" })).status).toBe(202);
    const soon = expect.closeTo(Date.now() / 1_000, -1);
    expect(await accessOf(id)).toEqual({ revision: 1, people: { Ann1: soon, constructor: soon } });
    expect((await revoke({})).body.tenant.accessRevision).toBe(2);
    expect(await accessOf(id)).toEqual({ revision: 2, people: {} });
    const trail = await call("GET", `/api/v1/audit?subject=${id}`);
    expect(trail.body.items.map(({ action, details }: Item) => [action, details.accountId]).slice(0, 3)).toEqual([
      ["tenant.revoke-sessions", null],
      ["tenant.revoke-sessions", "constructor"],
      ["tenant.revoke-sessions", "Ann1"],
    ]);
  });

  test("wants an account's id, a tenant that has sessions, and the right to write", async () => {
    const { id, at } = await makeTenant();
    for (const accountId of ["", "__proto__", "a b", "x".repeat(65), 7, null])
      expect((await call("POST", `${at}/sessions/revoke`, { body: { accountId } })).body.code).toBe("bad-request");
    expect((await call("POST", `${at}/sessions/revoke`, { body: {}, as: "read" })).status).toBe(403);
    await admin`update control.tenants set state = 'deleting' where id = ${id}`;
    expect((await call("POST", `${at}/sessions/revoke`, { body: {} })).body.code).toBe("conflict");
    expect(await accessOf(id)).toEqual({ revision: 1, people: {} });
  });
});
