import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { sha256Hex } from "../../../src/db/secrets.ts";
import type { PairingRequest } from "../../../src/protocol/lane.ts";
import { call, type Item, makeCluster, makeNode, unique } from "./api.ts";
import { connectSql } from "../../../src/db/client.ts";
import { inject } from "vitest";

interface TestLane {
  ask(request: PairingRequest): Promise<void>;
  plug(connectorId: string, configured: object | null): Promise<void>;
}
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what vitest.config.ts binds
const { LANE_A, LANE_B } = env as unknown as Record<"LANE_A" | "LANE_B", { getByName(name: string): TestLane }>;
const admin = connectSql(inject("database").adminUrl, 2);
const KEY = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", kid: "kid-1" } as const;

let tenant: string;
let tenantId: string;
let at: string;
beforeAll(async () => {
  const cluster = await makeCluster();
  await makeNode(cluster, 10);
  const { body } = await call("POST", "/api/v1/tenants", { body: { slug: "acme", cluster } });
  tenant = body.tenant.name;
  tenantId = body.tenant.id;
  at = `/api/v1/tenants/${tenant}`;
});

const create = (over: object = {}) =>
  call("POST", "/api/v1/connectors", { body: { tenant, name: unique("plant"), secret: {}, ...over } });

describe("client secrets", () => {
  test("are shown once, kept as a hash, and masked afterwards (R07, H86, H87)", async () => {
    const made = await create({ secret: { label: "first" } });
    expect(made.status).toBe(202);
    const { secret, connector } = made.body;
    expect(secret).toMatchObject({ label: "first", secret: expect.stringMatching(/^[\w-]{43}$/), expiresAt: null });
    expect(connector.credentials).toEqual({ keys: 0, secrets: 1, issuerSubject: null });
    expect(connector.clientId).toBe(`${tenant}/${connector.name}`);
    const list = `/api/v1/connectors/${connector.id}/secrets`;
    const shown = await call("GET", list);
    expect(shown.body.items).toMatchObject([{ id: secret.id, label: "first", secret: "********", lastUsedAt: null }]);
    const [row] = await admin`select sha256 from control.connector_secrets where id = ${secret.id}`;
    expect(row?.["sha256"]).toBe(await sha256Hex(secret.secret));
    const everything = JSON.stringify([
      shown.body,
      (await call("GET", `/api/v1/connectors/${connector.id}`)).body,
      (await call("GET", "/api/v1/audit?limit=200")).body,
    ]);
    expect(everything).not.toContain(secret.secret);
  });

  test("are several at once, up to a limit; each is removed by itself (R07)", async () => {
    const { body } = await create();
    const list = `/api/v1/connectors/${body.connector.id}/secrets`;
    const second = await call("POST", list, { body: { label: "next", expiresAt: "2030-01-01T00:00:00Z" } });
    expect(second.status).toBe(202);
    expect(second.body).toMatchObject({
      secret: { expiresAt: "2030-01-01T00:00:00.000Z" },
      connector: { credentials: { secrets: 2 } },
      operation: { kind: "connector-publish" },
    });
    expect((await call("DELETE", `${list}/${body.secret.id}`)).body.connector.credentials.secrets).toBe(1);
    expect((await call("DELETE", `${list}/${body.secret.id}`)).status).toBe(404);
    for (let n = 2; n <= 8; n++) expect((await call("POST", list, { body: {} })).status).toBe(202);
    expect((await call("POST", list, { body: {} })).body.code).toBe("conflict");
  });

  test("may be brought along when they are as hard to guess as ours (H87)", async () => {
    const value = "Zx81-Spectrum-48K-with-a-rubber-keyboard-and-tape";
    expect((await create({ secret: { value } })).body.secret.secret).toBe(value);
    expect((await create({ secret: { value } })).body.code).toBe("conflict");
    for (const weak of ["short", "a".repeat(60), `${value} with blanks`]) {
      const refused = await create({ secret: { value: weak } });
      expect(refused.body).toMatchObject({ status: 400, code: "bad-request" });
      expect(JSON.stringify(refused.body)).not.toContain(weak);
    }
  });

  test("or a key or an issuer's subject: a connector needs one of them", async () => {
    expect((await create({ secret: undefined })).body.code).toBe("bad-request");
    expect((await create({ secret: undefined, key: KEY })).body.connector.credentials).toMatchObject({ keys: 1 });
    const by = await create({ secret: undefined, issuerSubject: "client-7" });
    expect(by.body.connector.credentials).toEqual({ keys: 0, secrets: 0, issuerSubject: "client-7" });
  });
});

describe("rights of a connector", () => {
  test("read-only, an end, a lock: seen in the list (H83, H86, H89)", async () => {
    const { body } = await create();
    const one = `/api/v1/connectors/${body.connector.id}`;
    const set = { readOnly: true, expiresAt: "2031-05-05T10:00:00Z", disabled: true };
    const changed = await call("PATCH", one, { body: set });
    expect(changed.body.connector).toMatchObject({ ...set, expiresAt: "2031-05-05T10:00:00.000Z" });
    await admin`insert into control.connector_sessions (id, connector_id, instance_id, lane, online_at)
      values (${unique("ses")}, ${body.connector.id}, 'i1', 'a', now()), (${unique("ses")}, ${body.connector.id}, 'i1', 'b', now()),
             (${unique("ses")}, ${body.connector.id}, 'i2', 'b', now())`;
    const { items } = (await call("GET", `/api/v1/connectors?tenant=${tenant}&q=${body.connector.name}`)).body;
    expect(items).toMatchObject([{ readOnly: true, disabled: true, instances: 2, lastLoginAt: expect.any(String) }]);
    expect((await call("PATCH", one, { body: { expiresAt: null } })).body.connector.expiresAt).toBeNull();
  });

  test("one that is online is removed with force only (H84)", async () => {
    const { body } = await create();
    const one = `/api/v1/connectors/${body.connector.id}`;
    await admin`update control.connectors set state = 'online' where id = ${body.connector.id}`;
    expect((await call("DELETE", one)).status).toBe(409);
    expect((await call("DELETE", `${one}?force=true`)).body.operation.kind).toBe("connector-remove");
    expect((await call("GET", one)).status).toBe(404);
  });

  test("a configuration is pushed with a revision, and each live instance says what it made of it", async () => {
    const { body } = await create();
    const at = `/api/v1/connectors/${body.connector.id}/config`;
    expect((await call("GET", at)).body).toEqual({ revision: 0, config: null, instances: [] });
    const config = { targets: { demo: { url: "http://127.0.0.1:3000" } } };
    const pushed = await call("PUT", at, { body: { config } });
    expect([pushed.status, pushed.body.connector.configRevision]).toEqual([202, 1]);
    await LANE_A.getByName(tenantId).plug(body.connector.id, { revision: 1, ok: true, reason: "" });
    await LANE_B.getByName(tenantId).plug(body.connector.id, { revision: 1, ok: false, reason: "no such target" });
    expect((await call("GET", at)).body).toMatchObject({
      revision: 1,
      config,
      instances: [
        { lane: "a", revision: 1, applied: true, reason: null },
        { lane: "b", revision: 1, applied: false, reason: "no such target" },
      ],
    });
    expect((await call("PUT", at, { body: { config: null } })).body.connector.configRevision).toBeNull();
    expect((await call("GET", at)).body).toMatchObject({
      revision: 2,
      config: null,
      instances: [{ applied: false }, {}],
    });
    expect((await call("PUT", at, { body: { config: { x: "y".repeat(50_000) } } })).body.code).toBe("body-too-large");
    const stale = { "if-match": `"${body.connector.revision}"` };
    expect((await call("PUT", at, { body: { config: null }, headers: stale })).status).toBe(412);
  });

  test("it is sent away, all of it or one instance (P23)", async () => {
    const { body } = await create();
    const { id } = body.connector;
    for (const lane of [LANE_A, LANE_B]) await lane.getByName(tenantId).plug(id, null);
    const at = `/api/v1/connectors/${id}/kick`;
    expect((await call("POST", at, { body: { instanceId: "nobody" } })).body).toEqual({ ended: 0 });
    expect((await call("POST", at, { body: {} })).body).toEqual({ ended: 2 });
    expect((await call("POST", "/api/v1/connectors/con_nobody/kick", { body: {} })).status).toBe(404);
  });
});

describe("a tenant's relay", () => {
  test("has defaults, is replaced and changed, guarded by If-Match (P16, P21)", async () => {
    const start = await call("GET", `${at}/relay`);
    expect(start.body).toMatchObject({
      disabled: false,
      limits: { concurrentRequests: null, bodyBytes: null },
      waitForConnectorMs: 0,
      tracing: true,
      pairingUntil: null,
      revision: 0,
    });
    expect(start.headers.get("etag")).toBe('"0"');
    const put = await call("PUT", `${at}/relay`, {
      body: { limits: { concurrentRequests: 5, connectors: 2 }, waitForConnectorMs: 500 },
      headers: { "if-match": '"0"' },
    });
    expect(put.status).toBe(202);
    expect(put.body).toMatchObject({
      operation: { kind: "relay-settings-publish", subjectId: `relay:${tenantId}`, tenantId },
      relay: { limits: { concurrentRequests: 5, connectors: 2 }, waitForConnectorMs: 500 },
    });
    const stale = { "if-match": '"0"' };
    expect((await call("PATCH", `${at}/relay`, { body: { tracing: false }, headers: stale })).status).toBe(412);
    const patched = await call("PATCH", `${at}/relay`, { body: { limits: { connectors: null }, keepAliveMs: 10_000 } });
    expect(patched.body.relay).toMatchObject({
      limits: { concurrentRequests: 5, connectors: null },
      waitForConnectorMs: 500,
      keepAliveMs: 10_000,
    });
    expect((await call("GET", `${at}/relay`)).body).toEqual(patched.body.relay);
    const replaced = await call("PUT", `${at}/relay`, { body: {} });
    expect(replaced.body.relay).toMatchObject({ limits: { concurrentRequests: null }, keepAliveMs: null });
  });

  test.each([
    { limits: { concurrentRequests: 0 } },
    { limits: { colour: 1 } },
    { waitForConnectorMs: 60_001 },
    { keepAliveMs: 10 },
    { disabled: true },
  ])("%j is no setting", async (body) => {
    expect((await call("PATCH", `${at}/relay`, { body })).body).toMatchObject({ status: 400, code: "bad-request" });
  });

  test("is switched off and on, whatever else is under way for the tenant (P23)", async () => {
    expect((await call("POST", `${at}/relay/disable`)).body.relay.disabled).toBe(true);
    expect((await call("POST", `${at}/relay/enable`)).body.relay.disabled).toBe(false);
    expect((await call("POST", "/api/v1/tenants/nobody/relay/disable")).status).toBe(404);
  });

  test("trusts outside issuers by https only, a few of them (P05)", async () => {
    const put = (...items: object[]) => call("PUT", `${at}/issuers`, { body: { items } });
    const good = { issuer: "https://login.example.com/realm", audience: "causeway" };
    for (const issuer of ["http://login.example.com", "http://10.0.0.1/x", "https://u:p@example.com", "file:///etc"])
      expect((await put({ ...good, issuer })).body.code).toBe("bad-request");
    expect((await put(good, good)).body.code).toBe("bad-request");
    expect((await put(good)).body.operation.kind).toBe("relay-settings-publish");
    expect((await call("GET", `${at}/issuers`)).body.items).toEqual([
      { ...good, keys: [], fetchedAt: null, problem: null },
    ]);
    expect((await put()).status).toBe(202);
    expect((await call("GET", `${at}/issuers`)).body.items).toEqual([]);
  });
});

describe("a side of the relay", () => {
  test("is drained by an administrator's word, one side after the other (P23)", async () => {
    const drained = await call("POST", "/api/v1/relay/lanes/a/drain", { body: { graceSeconds: 30 } });
    expect(drained.status).toBe(202);
    expect(drained.body.operation).toMatchObject({
      kind: "relay-drain",
      subjectId: "relay-lanes",
      tenantId: null,
      drain: { lane: "a", graceSeconds: 30, left: null },
    });
    const other = await call("POST", "/api/v1/relay/lanes/b/drain", { body: {} });
    expect(other.body.operation).toMatchObject({ subjectId: "relay-lanes", drain: { lane: "b", graceSeconds: 60 } });
    const bad = [
      await call("POST", "/api/v1/relay/lanes/c/drain", { body: {} }),
      await call("POST", "/api/v1/relay/lanes/a/drain", { body: { graceSeconds: 0 } }),
    ];
    expect(bad.map(({ body }) => body.code)).toEqual(["bad-request", "bad-request"]);
  });
});

describe("pairing", () => {
  const asks = (id: string, connector: string, x: string): PairingRequest => ({
    id,
    connector,
    key: { kty: "OKP", crv: "Ed25519", x, kid: id },
    software: "causeway/1",
    clientAddress: "192.0.2.9",
    atMs: Date.now(),
  });

  test("is listed only while the window is open, and only accepted by an explicit word (H85)", async () => {
    const name = unique("new");
    const key = "p".repeat(43);
    await LANE_A.getByName(tenantId).ask(asks("key-a", name, key));
    await LANE_B.getByName(tenantId).ask(asks("key-b", unique("bad"), "q".repeat(43)));
    expect((await call("GET", `${at}/pairing`)).body).toEqual({ until: null, items: [] });
    expect((await call("POST", `${at}/pairing/key-a/accept`, { body: {} })).body.code).toBe("conflict");
    expect((await call("POST", `${at}/pairing`, { body: { minutes: 61 } })).body.code).toBe("bad-request");
    expect((await call("POST", `${at}/pairing`, { body: { minutes: 5 } })).body.relay.pairingUntil).not.toBeNull();
    const { items } = (await call("GET", `${at}/pairing`)).body;
    expect(items.map(({ id }: Item) => id)).toEqual(["key-a", "key-b"]);
    expect(items[0]).toMatchObject({ connector: name, software: "causeway/1", clientAddress: "192.0.2.9" });

    const accepted = await call("POST", `${at}/pairing/key-a/accept`, { body: { targets: ["demo"] } });
    expect(accepted.status).toBe(202);
    expect(accepted.body.connector).toMatchObject({ name, targets: ["demo"], credentials: { keys: 1, secrets: 0 } });
    expect((await call("POST", `${at}/pairing/key-b/reject`)).body).toEqual({ rejected: "key-b" });
    expect((await call("GET", `${at}/pairing`)).body.items).toEqual([]);
    expect((await call("POST", `${at}/pairing/key-a/accept`, { body: {} })).status).toBe(404);
    expect((await call("POST", `${at}/pairing`, { body: { minutes: 0 } })).body.relay.pairingUntil).toBeNull();
    expect((await call("GET", `${at}/pairing`)).body.until).toBeNull();
  });
});
