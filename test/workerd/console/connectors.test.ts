import { inject } from "vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import { call, type Item, makeCluster, makeNode, unique } from "./api.ts";

const admin = connectSql(inject("database").adminUrl, 2);
const jwk = (kid: string) => ({ kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", kid });

let tenant: string;
let tenantId: string;
beforeAll(async () => {
  const cluster = await makeCluster();
  await makeNode(cluster, 10);
  const { body } = await call("POST", "/api/v1/tenants", { body: { slug: "acme", cluster } });
  tenant = body.tenant.name;
  tenantId = body.tenant.id;
});

const create = (over: object = {}) =>
  call("POST", "/api/v1/connectors", { body: { tenant, name: unique("plant"), key: jwk("k1"), ...over } });

describe("connectors", () => {
  test("are registered with the public half of a key; an operation tells the lanes (R09)", async () => {
    const name = unique("plant");
    const reply = await create({ name, targets: ["demo", "echo"] });
    expect(reply.status).toBe(202);
    expect(reply.body).toMatchObject({
      operation: { kind: "connector-publish", state: "pending", tenantId },
      connector: { tenant, name, disabled: false, state: "offline", targets: ["demo", "echo"] },
    });
    const { id } = reply.body.connector;
    expect((await call("GET", `/api/v1/connectors/${id}`)).body).toEqual(reply.body.connector);
    expect((await call("GET", `/api/v1/connectors/${id}/keys`)).body.items).toMatchObject([
      { kid: "k1", key: jwk("k1") },
    ]);
    expect((await call("GET", `/api/v1/connectors/${id}/sessions`)).body.items).toEqual([]);
    expect((await create({ name })).body.code).toBe("conflict");
    const { items } = (await call("GET", `/api/v1/connectors?tenant=${tenant}&q=${name}`)).body;
    expect(items).toHaveLength(1);
  });

  test.each([
    ["a private key", { key: { ...jwk("k1"), d: "AAAA" } }],
    ["no key", { key: undefined }],
    ["another kind of key", { key: { kty: "RSA", n: "x", e: "AQAB", kid: "k" } }],
    ["a name with a separator", { name: "a/b" }],
    ["a name with a wildcard", { name: "plant+#" }],
    ["an empty name", { name: "" }],
    ["a bad target", { targets: ["a--b"] }],
    ["too long a target", { targets: ["x".repeat(21)] }],
  ])("%s is refused (H80)", async (_, over) => {
    const reply = await create(over);
    expect(reply.body).toMatchObject({ status: 400, code: "bad-request" });
    expect(JSON.stringify(reply.body)).not.toContain("AAAA");
  });

  test("of a tenant that is not there: not found", async () => {
    expect((await create({ tenant: "nobody" })).body.code).toBe("not-found");
  });

  test("are disabled and enabled by an operation; If-Match guards it (D9)", async () => {
    const { body } = await create();
    const at = `/api/v1/connectors/${body.connector.id}`;
    const changed = await call("PATCH", at, {
      body: { disabled: true },
      headers: { "if-match": `"${body.connector.revision}"` },
    });
    expect(changed.status).toBe(202);
    expect(changed.body.connector.disabled).toBe(true);
    expect(changed.body.connector.revision).toBeGreaterThan(body.connector.revision);
    const stale = { "if-match": `"${body.connector.revision}"` };
    expect((await call("PATCH", at, { body: { disabled: false }, headers: stale })).status).toBe(412);
    expect((await call("DELETE", at, { headers: stale })).status).toBe(412);
  });

  test("can't be removed while online; afterwards the name is free (H84)", async () => {
    const name = unique("plant");
    const { body } = await create({ name });
    const { id } = body.connector;
    await admin`update control.connectors set state = 'online' where id = ${id}`;
    expect((await call("DELETE", `/api/v1/connectors/${id}`)).body).toMatchObject({
      status: 409,
      detail: expect.stringContaining("online"),
    });
    await admin`update control.connectors set state = 'offline' where id = ${id}`;
    expect((await call("DELETE", `/api/v1/connectors/${id}`)).body.operation.kind).toBe("connector-remove");
    expect((await call("GET", `/api/v1/connectors/${id}`)).status).toBe(404);
    expect((await call("DELETE", `/api/v1/connectors/${id}`)).status).toBe(404);
    expect((await create({ name })).status).toBe(202);
  });

  test("have several keys at once, up to a limit; each can be removed (R07)", async () => {
    const { body } = await create();
    const at = `/api/v1/connectors/${body.connector.id}`;
    for (let n = 2; n <= 8; n++)
      expect((await call("POST", `${at}/keys`, { body: { key: jwk(`k${n}`) } })).status).toBe(202);
    expect((await call("POST", `${at}/keys`, { body: { key: jwk("k9") } })).body.code).toBe("conflict");
    expect((await call("POST", `${at}/keys`, { body: { key: jwk("k2") } })).body.code).toBe("conflict");
    expect((await call("DELETE", `${at}/keys/k1`)).status).toBe(202);
    expect((await call("DELETE", `${at}/keys/k1`)).status).toBe(404);
    const { items } = (await call("GET", `${at}/keys`)).body;
    expect(items.map(({ kid }: Item) => kid)).toEqual(["k2", "k3", "k4", "k5", "k6", "k7", "k8"]);
  });
});

describe("nodes", () => {
  test.each([
    "http://node.example",
    "http://10.0.0.1:8000",
    "https://node.example/path",
    "ftp://127.0.0.1",
    "nonsense",
  ])("%s is no address of a node", async (envoyUrl) => {
    const reply = await call("POST", "/api/v1/nodes", { body: { name: unique("n"), envoyUrl, capacity: 1 } });
    expect(reply.body).toMatchObject({ status: 400, code: "bad-request" });
  });

  test("get a one-time token for enrolment, and a new one on demand", async () => {
    const name = unique("n");
    const made = await call("POST", "/api/v1/nodes", {
      body: { name, envoyUrl: "https://node.example/", capacity: 2 },
    });
    expect(made.body.node).toMatchObject({
      name,
      envoyUrl: "https://node.example",
      capacity: 2,
      tenants: 0,
      enrolled: false,
      online: false,
    });
    expect(made.body.enrolmentToken).toMatch(new RegExp(`^${made.body.node.id}\\.[\\w-]{43}$`));
    const again = await call("POST", `/api/v1/nodes/${name}/enrolments`);
    expect(again.body.enrolmentToken).not.toBe(made.body.enrolmentToken);
    expect(again.body.operation.kind).toBe("node-publish");
    expect((await call("GET", `/api/v1/nodes/${name}`)).body.enrolmentToken).toBeUndefined();
  });
});

describe("clusters", () => {
  test("are registered with domains that nobody else has (D12)", async () => {
    const name = unique("c");
    const cluster = {
      name,
      baseDomains: [`${name}.example.com`],
      databaseBinding: "CLUSTER_DB_EU",
      databaseAddress: "postgres://db.example:5432/eu",
    };
    const made = await call("POST", "/api/v1/clusters", { body: cluster });
    expect([made.status, made.body.name, made.body.isDefault]).toEqual([201, name, false]);
    expect((await call("GET", `/api/v1/clusters/${name}`)).body).toEqual(made.body);
    expect((await call("POST", "/api/v1/clusters", { body: { ...cluster, name: unique("c") } })).status).toBe(409);
    const other = { ...cluster, name: unique("c"), baseDomains: [`${unique("x")}.example.com`] };
    expect((await call("POST", "/api/v1/clusters", { body: { ...other, isDefault: true } })).status).toBe(409);
    const secret = { ...other, databaseAddress: "postgres://user:secret@db.example/eu" };
    const refused = await call("POST", "/api/v1/clusters", { body: secret });
    expect(refused.status).toBe(400);
    expect(JSON.stringify(refused.body)).not.toContain("secret");
  });
});
