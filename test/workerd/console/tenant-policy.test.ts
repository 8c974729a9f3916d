import { inject } from "vitest";
import { beforeAll, describe, expect, test } from "vitest";
import { isVisitorPassword } from "../../../src/edge-router/visitor-password.ts";
import { connect, connectSql } from "../../../src/db/client.ts";
import { edgePolicyOf } from "../../../src/db/edge-policy.ts";
import { tenantById } from "../../../src/db/tenants.ts";
import { edgePolicy } from "../../../src/policy/edge-policy.ts";
import { call, makeCluster, makeNode, unique } from "./api.ts";

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
  await settle(body.tenant.id);
  return { id: body.tenant.id, at: `/api/v1/tenants/${slug}@${cluster}` };
}
const settle = (tenantId: string) =>
  admin`update control.operations set state = 'succeeded' where subject_id = ${tenantId} and state = 'pending'`;

/** What the provisioner would publish. */
async function publishedOf(tenantId: string) {
  const found = await tenantById(db, tenantId);
  if (found === null) throw new Error("no tenant");
  const policy = await edgePolicyOf(db, found.tenant);
  return policy === undefined ? null : edgePolicy.parse(policy);
}

describe("a tenant's policy", () => {
  test("is changed part by part, and published alone", async () => {
    const { id, at } = await makeTenant();
    expect((await call("GET", `${at}/policy`)).body).toEqual({ password: false });
    expect(await publishedOf(id)).toBeNull();
    const changed = await call("PATCH", `${at}/policy`, {
      body: { network: { allow: ["192.0.2.0/24"] }, limits: { visitorPerMinute: 60 }, securityHeaders: true },
    });
    expect(changed.status).toBe(202);
    expect(changed.body.operation).toMatchObject({ kind: "tenant-policy", steps: [{ name: "publish" }] });
    // While that is under way, too: it must not wait to become stricter.
    expect((await call("PATCH", `${at}/policy`, { body: { limits: null, maintenance: {} } })).status).toBe(202);
    expect((await call("GET", `${at}/policy`)).body).toEqual({
      network: { allow: ["192.0.2.0/24"] },
      securityHeaders: true,
      maintenance: {
        message: "This site is being worked on. It will be back soon.",
        retryAfterSeconds: 300,
        allow: [],
      },
      password: false,
    });
    expect(await publishedOf(id)).toMatchObject({ network: { allow: ["192.0.2.0/24"] }, securityHeaders: true });
  });

  test("keeps a hash of the password only, which the edge can check; nobody is shown either", async () => {
    const { id, at } = await makeTenant();
    await call("PATCH", `${at}/policy`, { body: { password: "open sesame" } });
    expect((await call("GET", `${at}/policy`)).body).toEqual({ password: true });
    const password = (await publishedOf(id))?.password;
    expect(JSON.stringify(password)).not.toContain("sesame");
    if (!password) throw new Error("none was published");
    expect(await isVisitorPassword("open sesame", password)).toBe(true);
    expect(await isVisitorPassword("open sesame!", password)).toBe(false);
    const audit = await call("GET", `/api/v1/audit?subject=${id}`);
    expect(JSON.stringify(audit.body)).not.toContain("sesame");
    expect(audit.body.items[0]).toMatchObject({ action: "tenant.policy", details: { changed: ["password"] } });
    await call("PATCH", `${at}/policy`, { body: { password: null } });
    expect(await publishedOf(id)).toBeNull();
  });

  test.each([
    [{ password: "short" }, "password"],
    [{ network: { allow: ["192.0.2.0/33"] } }, "network"],
    [{ network: { allowCountries: ["de"] } }, "allowCountries"],
    [{ cors: { origins: ["*"], credentials: true } }, "origins"],
    [{ limits: { visitorPerMinute: 0 } }, "visitorPerMinute"],
    [{ unknown: 1 }, "unknown"],
  ])("refuses %j", async (body, named) => {
    const { at } = await makeTenant();
    const refused = await call("PATCH", `${at}/policy`, { body });
    expect([refused.status, refused.body.code]).toEqual([400, "bad-request"]);
    expect(refused.body.detail).toContain(named);
  });
});

describe("service tokens", () => {
  test("are shown once, listed without their secret, published as hashes, and gone when revoked", async () => {
    const { id, at } = await makeTenant();
    const made = await call("POST", `${at}/tokens`, { body: { name: "ci", prefixes: ["/app", "/api"], write: true } });
    expect(made.status).toBe(202);
    const { secret, id: tokenId } = made.body.token;
    expect(secret).toMatch(/^cst_[\w-]{43}$/);
    expect((await call("POST", `${at}/tokens`, { body: { name: "ci", prefixes: ["/"] } })).status).toBe(409);
    const listed = await call("GET", `${at}/tokens`);
    expect(listed.body.items).toMatchObject([{ id: tokenId, name: "ci", prefixes: ["/app", "/api"], write: true }]);
    expect(JSON.stringify(listed.body)).not.toContain(secret);
    const published = await publishedOf(id);
    expect(published?.tokens).toMatchObject([{ id: tokenId, write: true, expiresAtSeconds: null }]);
    expect(JSON.stringify(published)).not.toContain(secret);
    expect((await call("DELETE", `${at}/tokens/svc_none`)).status).toBe(404);
    expect((await call("DELETE", `${at}/tokens/${tokenId}`)).status).toBe(202);
    expect(await publishedOf(id)).toBeNull();
  });

  test("need the right to write, a name, and a time to come", async () => {
    const { at } = await makeTenant();
    const body = { name: "ci", prefixes: ["/"] };
    expect((await call("POST", `${at}/tokens`, { as: "read", body })).status).toBe(403);
    for (const wrong of [
      { name: "CI" },
      { prefixes: [] },
      { prefixes: ["/x/"] },
      { expiresAt: "2001-01-01T00:00:00Z" },
    ])
      expect((await call("POST", `${at}/tokens`, { body: { ...body, ...wrong } })).status).toBe(400);
  });
});

describe("members", () => {
  test("are listed and invited by the portal", async () => {
    const { at } = await makeTenant();
    expect((await call("GET", `${at}/members`)).body).toEqual({
      items: [{ accountId: "usr_ann", email: "ann@acme.example", role: "owner", since: "1970-01-01T00:00:00.000Z" }],
      invitations: [{ id: "inv_1", email: "bob@acme.example", role: "viewer", expiresAt: "1970-01-02T00:00:00.000Z" }],
    });
    const invite = (email: string) => call("POST", `${at}/invitations`, { body: { email, role: "viewer" } });
    expect((await invite("carl@acme.example")).body).toEqual({ id: "inv_1", expiresAt: "1970-01-02T00:00:00.000Z" });
    expect((await invite("ann@acme.example")).status).toBe(409);
    expect((await invite("nobody")).status).toBe(400);
    expect((await call("POST", `${at}/invitations/inv_1/resend`)).body.id).toBe("inv_2");
    expect((await call("POST", `${at}/invitations/inv_9/resend`)).status).toBe(404);
    expect((await call("DELETE", `${at}/invitations/inv_1`)).status).toBe(200);
    expect((await call("DELETE", `${at}/invitations/inv_9`)).status).toBe(404);
  });

  test("lose their sessions when they may do less; the last owner stays", async () => {
    const { id, at } = await makeTenant();
    const changed = await call("PATCH", `${at}/members/usr_bob`, { body: { role: "viewer" } });
    expect(changed.body.operation).toMatchObject({ kind: "tenant-revoke-sessions", steps: [{ name: "publish" }] });
    expect((await call("DELETE", `${at}/members/usr_carl`)).status).toBe(202);
    const found = await tenantById(db, id);
    expect(Object.keys(found?.tenant.notBefore ?? {}).toSorted()).toEqual(["usr_bob", "usr_carl"]);
    expect((await call("DELETE", `${at}/members/usr_ann`)).body).toMatchObject({ status: 409, code: "conflict" });
    expect((await call("PATCH", `${at}/members/usr_none`, { body: { role: "admin" } })).status).toBe(404);
    expect((await call("PATCH", `${at}/members/usr_bob`, { body: { role: "king" } })).status).toBe(400);
  });
});

describe("routes of every kind", () => {
  test("come back as they were set, and the node is told only of what concerns it", async () => {
    const { id, at } = await makeTenant();
    const items = [
      {
        prefix: "/app",
        access: "member",
        roles: { use: "member", write: "admin" },
        to: { kind: "service", service: "app" },
      },
      {
        prefix: "/gone",
        exact: true,
        access: "public",
        to: { kind: "answer", status: 410, contentType: "text/plain", body: "gone" },
      },
      {
        prefix: "/old",
        access: "public",
        to: { kind: "redirect", location: "/app", status: 308, keepPath: true, keepQuery: true },
      },
      {
        prefix: "/plant",
        access: "password",
        rewrite: { prefix: "/api" },
        timeouts: { firstByteMs: 5_000, idleMs: null, totalMs: 60_000 },
        network: { allow: ["192.0.2.0/24"] },
        limits: { visitorPerMinute: 30, bodyBytes: 1_000 },
        cors: {
          origins: ["https://x.example"],
          credentials: false,
          methods: ["GET"],
          exposeHeaders: [],
          maxAgeSeconds: 60,
        },
        to: { kind: "target", target: "plc" },
      },
    ];
    const set = await call("PUT", `${at}/routes`, { body: { items } });
    expect(set.status).toBe(202);
    expect((await call("GET", `${at}/routes`)).body.items).toEqual(items);
    await admin`update control.operation_steps set state = 'done'
      where operation_id in (select id from control.operations where subject_id = ${id})`;
    await settle(id);
    const again = await call("PUT", `${at}/routes`, {
      body: { items: items.map((item) => ({ ...item, access: "member" })) },
    });
    expect(again.body.operation.steps).toMatchObject([{ name: "publish" }]);
    await settle(id);
    const rewritten = [{ ...items[0], rewrite: { prefix: "/", host: "app.internal:8080" } }];
    const pushed = await call("PUT", `${at}/routes`, { body: { items: rewritten } });
    expect(pushed.body.operation.steps).toMatchObject([{ name: "push" }, { name: "publish" }]);
  });

  const to = { kind: "service", service: "app" };
  test.each<[object, string]>([
    [{ to, roles: { use: "admin" } }, "roles"],
    [{ to, access: "open" }, "access"],
    [{ to, exact: true }, "exact"],
    [{ to: { kind: "redirect", location: "/x" }, exact: true }, "leads to itself"],
    [{ to, timeouts: { totalMs: 5_000 } }, "firstByteMs"],
    [{ to, rewrite: { host: "Bad Host" } }, "host"],
    [{ to: { kind: "target", target: "plc" }, rewrite: { host: "x.example" } }, "connector"],
    [{ to: { kind: "redirect", location: "//evil.example" } }, "location"],
    [{ to: { kind: "redirect", location: "javascript:alert(1)" } }, "location"],
    [{ to: { kind: "redirect", location: "https://user@x.example/" } }, "location"],
    [{ to: { kind: "redirect", location: "/x/y", keepPath: true } }, "leads to itself"],
    [{ to: { kind: "redirect", location: "/y?a=1", keepQuery: true } }, "query"],
    [{ to: { kind: "answer", status: 302 } }, "redirect"],
    [{ to: { kind: "answer", contentType: "a\r\nset-cookie: b" } }, "contentType"],
  ])("%j is refused", async (route, named) => {
    const { at } = await makeTenant();
    const refused = await call("PUT", `${at}/routes`, { body: { items: [{ prefix: "/x", ...route }] } });
    expect([refused.status, refused.body.code]).toEqual([400, "bad-request"]);
    expect(refused.body.detail).toContain(named);
  });
});
