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
async function makeTenant(): Promise<{ id: string; slug: string; at: string }> {
  const slug = unique("acme");
  const { body } = await call("POST", "/api/v1/tenants", { body: { slug, cluster } });
  await admin`update control.tenants set state = 'active' where id = ${body.tenant.id}`;
  await settle(body.tenant.id);
  return { id: body.tenant.id, slug, at: `/api/v1/tenants/${slug}@${cluster}` };
}

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
      operation: { kind: "tenant-suspend", steps: [{ name: "publish" }] },
      tenant: { state: "suspended" },
    });
    await settle(id);
    expect((await call("POST", `${at}/suspend`)).body.code).toBe("conflict");
    expect((await call("POST", `${at}/resume`)).body).toMatchObject({
      operation: { kind: "tenant-resume", steps: [{ name: "publish" }] },
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

  test("suspend and resume are refused while another operation of the tenant is under way; delete waits for its turn", async () => {
    const { id, at } = await makeTenant();
    const { body } = await call("POST", `${at}/suspend`);
    const refused = await call("POST", `${at}/resume`);
    expect(refused.body).toMatchObject({ status: 409, code: "conflict" });
    expect(refused.body.detail).toContain(body.operation.id);
    expect((await call("GET", at)).body.state).toBe("suspended");
    expect((await call("DELETE", at)).status).toBe(202);
    expect(await actionsOn(id)).toEqual(["tenant.delete", "tenant.suspend", "tenant.create"]);
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
