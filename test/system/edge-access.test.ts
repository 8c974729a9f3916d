import { createHash, randomBytes } from "node:crypto";
import { importJWK, jwtVerify, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hashVisitorPassword } from "../../src/console/visitor-password.ts";
import type { EdgePolicy, ServiceToken } from "../../src/policy/edge-policy.ts";
import type { DirectoryRecord, TenantRoute } from "../../src/policy/record.ts";
import { IDENTITY_ISSUER, identityClaims } from "../../src/protocol/identity.ts";
import { until } from "../support/until.ts";
import { createBrowser, HTML, send, type Answer, type Send } from "./edge/browser.ts";
import { parseEcho, startTestNode, type TestNode } from "./edge/origin.ts";
import { BASE, tenantRecord, toService, toTarget } from "./edge/records.ts";
import { newKey, startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// Routes, access and rules on the real edge. The portal has no database here: sessions are signed with its key, and nobody can tell that one
// has ended.
const ADDRESS = "x-test-address";
const NODE = "nod_walter";
let stack: EdgeStack;
let node: TestNode;
let made = 0;

beforeAll(async () => {
  stack = await startEdgeStack("postgres://nobody:nothing@127.0.0.1:1/none", {
    CLIENT_ADDRESS_HEADER: ADDRESS,
    COUNTRY_HEADER: "x-test-country",
  });
  node = await startTestNode(NODE, stack.proofKey);
});
afterAll(async () => {
  await stack.stop();
  await node.stop();
});

interface Tenant {
  readonly record: DirectoryRecord;
  readonly host: string;
  ask(path: string, over?: Partial<Send>): Promise<Answer>;
  /** Publishes it anew; resolves when the edge goes by it. */
  change(over: Partial<DirectoryRecord>, seen: () => Promise<boolean>): Promise<void>;
}

/** A tenant of its own for each test, so that none waits for what the edge remembers. */
async function makeTenant(routes: TenantRoute[], policy?: EdgePolicy): Promise<Tenant> {
  const slug = `acme-${(made += 1)}`;
  let record = tenantRecord(slug, { id: NODE, url: node.url }, { routes, ...(policy && { policy }) });
  await stack.publish(record);
  const host = `${slug}.${BASE}:${stack.port}`;
  return {
    record,
    host,
    ask: (path, over = {}) =>
      send(stack.port, { host, path, ...over, headers: { [ADDRESS]: "192.0.2.1", ...over.headers } }),
    async change(over, seen) {
      record = { ...record, ...over, revision: record.revision + 1 };
      expect((await stack.publish(record)).applied).toBe(true);
      await until("the edge to go by the new record", seen, { timeoutMs: 10_000 });
    },
  };
}

const codeOf = ({ status, headers }: Answer) => [status, headers["causeway-error"] ?? null];

type Role = "owner" | "admin" | "member" | "viewer" | null;
async function sessionOf(tenantId: string, role: Role, over: Record<string, unknown> = {}): Promise<string> {
  const jwk = JSON.parse(stack.sessionKey.private);
  const iat = Math.floor(Date.now() / 1_000);
  return await new SignJWT({ sid: "ses_1", accessRevision: 0, role, email: "ann@acme.example", ...over })
    .setProtectedHeader({ alg: "EdDSA", kid: jwk.kid })
    .setIssuer("causeway-portal")
    .setAudience(tenantId)
    .setSubject("usr_ann")
    .setIssuedAt(iat)
    .setExpirationTime(iat + 3_600)
    .sign(await importJWK(jwk, "EdDSA"));
}
const cookieOf = async (tenant: Tenant, role: Role) => ({
  cookie: `causeway=${await sessionOf(tenant.record.tenantId, role)}; mine=1`,
});

function makeToken(over: Partial<ServiceToken> = {}): { secret: string; kept: ServiceToken } {
  const secret = `cst_${randomBytes(32).toString("base64url")}`;
  const sha256 = createHash("sha256").update(secret).digest("hex");
  const kept = { id: `svc_${sha256.slice(0, 8)}`, sha256, prefixes: ["/"], write: false, expiresAtSeconds: null };
  return { secret, kept: { ...kept, ...over } };
}
const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });

describe("a route", () => {
  test("redirects, with path and query if it says so, never to another host by itself", async () => {
    const redirect = { kind: "redirect", location: "/app", status: 308, keepPath: true, keepQuery: true } as const;
    const tenant = await makeTenant([
      { prefix: "/old", access: "public", to: redirect },
      { prefix: "/out", access: "public", to: { ...redirect, location: "https://docs.example", keepQuery: false } },
      { prefix: "/", access: "public", to: { ...redirect, location: "/app", status: 302, keepPath: false } },
    ]);
    const location = async (path: string, method = "GET") => {
      const { status, headers } = await tenant.ask(path, { method });
      return [status, headers.location];
    };
    const own = `http://${tenant.host}`;
    expect(await location("/old/a%2Fb?q=%20x")).toEqual([308, `${own}/app/a%2Fb?q=%20x`]);
    expect(await location("/old", "POST")).toEqual([308, `${own}/app`]);
    expect(await location("/out/guide?x=1")).toEqual([308, "https://docs.example/guide"]);
    expect(await location("//evil.example/x?a")).toEqual([302, `${own}/app?a`]);
  });

  test("answers by itself", async () => {
    const answer = {
      kind: "answer",
      status: 410,
      contentType: "text/plain; charset=utf-8",
      body: "It is göne.",
    } as const;
    const tenant = await makeTenant([
      { prefix: "/gone", access: "public", to: answer },
      { prefix: "/empty", access: "public", to: { ...answer, status: 204 } },
    ]);
    const gone = await tenant.ask("/gone/x");
    expect([gone.status, gone.body, gone.headers["content-type"]]).toEqual([410, answer.body, answer.contentType]);
    expect(gone.headers["causeway-error"]).toBeUndefined();
    expect((await tenant.ask("/gone", { method: "HEAD" })).body).toBe("");
    expect((await tenant.ask("/gone", { method: "POST", body: "x".repeat(100_000) })).status).toBe(410);
    expect((await tenant.ask("/empty")).status).toBe(204);
  });

  test("puts another prefix in the place of its own for a target, and tells it which", async () => {
    const tenant = await makeTenant([
      { ...toTarget("/plant", "plc"), rewrite: { prefix: "/api/v2" } },
      toTarget("/cut", "plc"),
    ]);
    const visitOf = async (path: string) => JSON.parse((await tenant.ask(path)).body).visit;
    expect(await visitOf("/plant/x%20y?q=1")).toMatchObject({ path: "/api/v2/x%20y?q=1", prefix: "/plant" });
    expect(await visitOf("/plant")).toMatchObject({ path: "/api/v2" });
    expect(await visitOf("/cut/x")).toMatchObject({ path: "/x", prefix: "/cut" });
  });

  test("has a deadline of its own (H14)", async () => {
    const tenant = await makeTenant([{ ...toService("/app"), timeouts: { firstByteMs: 200 } }]);
    const startedAt = Date.now();
    expect(codeOf(await tenant.ask("/app/never"))).toEqual([504, "node-timeout"]);
    expect(Date.now() - startedAt).toBeLessThan(2_500); // The platform's own is 3 s here.
  });
});

describe("cross-origin sharing (H17)", () => {
  const cors = {
    origins: ["https://app.example"],
    credentials: true,
    methods: ["GET", "PUT"],
    exposeHeaders: [],
    maxAgeSeconds: 60,
  };
  const origin = "https://app.example";

  test("is the edge's: preflights are answered without a session, a service's own word is replaced", async () => {
    const tenant = await makeTenant([toService("/app"), toService("/private", "member")], { cors });
    const before = node.requests;
    const preflight = await tenant.ask("/private/x", {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "PUT", "access-control-request-headers": "x-one" },
    });
    expect([preflight.status, preflight.headers["access-control-allow-origin"]]).toEqual([204, origin]);
    expect(preflight.headers).toMatchObject({
      "access-control-allow-methods": "GET, PUT",
      "access-control-allow-headers": "x-one",
      "access-control-allow-credentials": "true",
    });
    const refused = await tenant.ask("/app", {
      method: "OPTIONS",
      headers: { origin: "https://evil.example", "access-control-request-method": "GET" },
    });
    expect([refused.status, refused.headers["access-control-allow-origin"]]).toEqual([204, undefined]);
    expect(node.requests).toBe(before);
    const answered = await tenant.ask("/app/cors", { headers: { origin } });
    expect(answered.headers["access-control-allow-origin"]).toBe(origin);
    expect(answered.headers["access-control-expose-headers"]).toBeUndefined();
    const foreign = await tenant.ask("/app/cors", { headers: { origin: "https://evil.example" } });
    expect(foreign.status).toBe(200);
    expect(Object.keys(foreign.headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
    expect(foreign.headers.vary).toMatch(/origin/i);
    // Pages must be able to read why they were refused.
    const unauthorized = await tenant.ask("/private", { headers: { origin } });
    expect([unauthorized.status, unauthorized.headers["access-control-allow-origin"]]).toEqual([401, origin]);
  });

  test("a route's own policy goes before the tenant's; without any an OPTIONS goes on", async () => {
    const tenant = await makeTenant([{ ...toService("/app"), cors: { ...cors, origins: ["*"], credentials: false } }], {
      cors,
    });
    const answered = await tenant.ask("/app/cors", { headers: { origin: "https://any.example" } });
    expect(answered.headers["access-control-allow-origin"]).toBe("*");
    const plain = await makeTenant([toService("/app")]);
    const passed = await plain.ask("/app", {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "GET" },
    });
    expect(parseEcho(passed.body).method).toBe("OPTIONS");
  });
});

describe("a route with a password", () => {
  test("shows browsers a form, refuses programs, and opens to whoever knows it until it is changed", async () => {
    const password = await hashVisitorPassword("open sesame");
    const tenant = await makeTenant([{ ...toService("/app"), access: "password" }, toService("/manager")], {
      password,
    });
    expect(codeOf(await tenant.ask("/app"))).toEqual([401, "unauthorized"]);
    expect((await tenant.ask("/manager")).status).toBe(200);

    const browser = createBrowser(stack.port);
    const from = { [ADDRESS]: "192.0.2.7" };
    const url = (path: string) => `http://${tenant.host}${path}`;
    const form = await browser.visit(url("/app/x?q=1"), undefined, from);
    expect(codeOf(form)).toEqual([401, "unauthorized"]);
    expect(form.body).toContain('name="next" value="/app/x?q=1"');
    const post = (typed: string, next = "/app/x?q=1", extra = {}) =>
      browser.visit(url("/.causeway/password"), { password: typed, next }, { ...from, ...extra });
    expect((await post("open sesam")).status).toBe(401);
    expect(codeOf(await post("open sesame", "/", { origin: "https://evil.example" }))).toEqual([403, "forbidden"]);
    const admitted = await post("open sesame");
    expect([admitted.status, admitted.headers.location]).toEqual([303, url("/app/x?q=1")]);
    expect((await post("open sesame", "//evil.example")).headers.location).toBe(url("/"));
    const opened = await browser.visit(url("/app/x"), undefined, from);
    expect(opened.status).toBe(200);
    expect(JSON.stringify(parseEcho(opened.body).headers)).not.toContain("causeway-pass");

    // A pass of one tenant is none at another.
    const other = await makeTenant([{ ...toService("/app"), access: "password" }], { password });
    const pass = browser.cookies(new URL(url("/")).hostname).get("causeway-pass") ?? "";
    expect((await other.ask("/app", { headers: { cookie: `causeway-pass=${pass}` } })).status).toBe(401);

    const visit = async () => (await browser.visit(url("/app/x"), undefined, from)).status;
    const next = await hashVisitorPassword("something else");
    await tenant.change({ policy: { password: next } }, async () => (await visit()) === 401);
  });

  test("counts tries (429), and lets nobody in where no password is set", async () => {
    const tenant = await makeTenant([{ ...toService("/app"), access: "password" }], {
      password: await hashVisitorPassword("open sesame"),
    });
    const headers = {
      origin: `http://${tenant.host}`,
      "content-type": "application/x-www-form-urlencoded",
      accept: HTML,
      [ADDRESS]: "192.0.2.9",
    };
    const attempt = (over = {}) =>
      tenant.ask("/.causeway/password", {
        method: "POST",
        headers: { ...headers, ...over },
        body: "password=wrong-one",
      });
    const statuses = [];
    for (let i = 0; i < 11; i++) statuses.push((await attempt()).status);
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 401), 429]);
    const refused = await attempt();
    expect([refused.headers["causeway-error"], Number(refused.headers["retry-after"]) > 0]).toEqual([
      "rate-limited",
      true,
    ]);
    expect((await attempt({ [ADDRESS]: "192.0.2.10" })).status).toBe(401);
    const none = await makeTenant([{ ...toService("/app"), access: "password" }]);
    expect((await none.ask("/app", { headers: { accept: HTML } })).status).toBe(401);
  });
});

describe("accounts and roles", () => {
  test("sign-up lets in who is no member; members' routes don't, and say what to do", async () => {
    const tenant = await makeTenant([{ ...toService("/app"), access: "sign-up" }, toService("/manager", "member")]);
    const stranger = await cookieOf(tenant, null);
    expect((await tenant.ask("/app", { headers: stranger })).status).toBe(200);
    const refused = await tenant.ask("/manager", { headers: { ...stranger, accept: HTML } });
    expect(codeOf(refused)).toEqual([403, "forbidden"]);
    expect(refused.body).toContain('href="/.causeway/sign-in?next=%2Fmanager"');
    expect((await tenant.ask("/app", { headers: { accept: HTML } })).status).toBe(303);
    const again = await tenant.ask("/.causeway/sign-in?next=%2Fmanager", { headers: { accept: HTML } });
    expect([again.status, again.headers.location?.includes("/authorize?")]).toEqual([303, true]);
  });

  test("sign-up with password wants both, the account first", async () => {
    const password = await hashVisitorPassword("open sesame");
    const tenant = await makeTenant([{ ...toService("/app"), access: "sign-up-password" }], { password });
    const page = (headers = {}) => tenant.ask("/app", { headers: { accept: HTML, ...headers } });
    expect((await page()).status).toBe(303);
    const form = await page(await cookieOf(tenant, null));
    expect([form.status, form.body.includes('type="password"')]).toEqual([401, true]);
  });

  test.each<[Role, number, number, number]>([
    ["owner", 200, 200, 200],
    ["admin", 200, 200, 200],
    ["member", 200, 403, 403],
    ["viewer", 200, 403, 403],
  ])("%s: reading %i, writing %i, admin's page %i", async (role, reads, writes, admins) => {
    const tenant = await makeTenant([
      { ...toService("/app", "member"), roles: { write: "admin" } },
      { ...toService("/manager", "member"), roles: { use: "admin" } },
    ]);
    const headers = await cookieOf(tenant, role);
    expect((await tenant.ask("/app", { headers })).status).toBe(reads);
    expect((await tenant.ask("/app", { headers, method: "POST", body: "x" })).status).toBe(writes);
    expect((await tenant.ask("/manager", { headers })).status).toBe(admins);
  });

  test("the service learns who it is, in words and signed, and can't be told by anybody else (H10, G04)", async () => {
    const tenant = await makeTenant([
      toService("/app", "member"),
      toTarget("/plant", "plc", "member"),
      toService("/open"),
    ]);
    const spoofed = { "causeway-account": "usr_eve", "causeway-role": "owner", "causeway-identity": "eve" };
    const headers = { ...(await cookieOf(tenant, "admin")), ...spoofed };
    const said = parseEcho((await tenant.ask("/app", { headers })).body).headers;
    expect(said).toMatchObject({
      "causeway-account": "usr_ann",
      "causeway-email": "ann@acme.example",
      "causeway-role": "admin",
      cookie: "mine=1",
    });
    const published = await tenant.ask("/.causeway/jwks.json");
    expect(JSON.parse(published.body).keys).toMatchObject([{ kid: "proof-1", crv: "Ed25519", use: "sig" }]);
    expect(published.body).not.toContain('"d"');
    const key = await importJWK(JSON.parse(published.body).keys[0], "EdDSA");
    const options = { issuer: IDENTITY_ISSUER, audience: tenant.record.tenantId, algorithms: ["EdDSA"] };
    const { payload } = await jwtVerify(String(said["causeway-identity"]), key, options);
    expect(identityClaims.parse(payload)).toMatchObject({
      sub: "usr_ann",
      kind: "account",
      role: "admin",
      email: "ann@acme.example",
      tenant: tenant.record.slug,
    });
    const target = JSON.parse((await tenant.ask("/plant/x", { headers })).body).headers;
    expect([target["causeway-account"], target["causeway-role"]]).toEqual(["usr_ann", "admin"]);
    const open = parseEcho((await tenant.ask("/open", { headers })).body).headers;
    expect(Object.keys(open).filter((name) => /^causeway-(?:account|email|role|identity)/.test(name))).toEqual([]);
  });
});

describe("a service token", () => {
  test("opens the routes in its scope without a session, for reading unless it may write; the service never sees it", async () => {
    const reader = makeToken({ prefixes: ["/app"] });
    const writer = makeToken({ write: true });
    const old = makeToken({ expiresAtSeconds: Math.floor(Date.now() / 1_000) - 1 });
    const tenant = await makeTenant(
      [toService("/app", "member"), { ...toService("/manager"), access: "password" }, toService("/open")],
      { tokens: [reader.kept, writer.kept, old.kept] },
    );
    const said = parseEcho((await tenant.ask("/app", { headers: bearer(reader.secret) })).body).headers;
    expect(said["authorization"]).toBeUndefined();
    expect(said["causeway-service-token"]).toBe(reader.kept.id);
    expect(JSON.stringify(said)).not.toContain(reader.secret);
    const ask = async (path: string, secret: string, method = "GET") =>
      codeOf(await tenant.ask(path, { headers: bearer(secret), method, ...(method === "POST" && { body: "x" }) }));
    expect(await ask("/app", reader.secret, "POST")).toEqual([403, "forbidden"]);
    expect(await ask("/manager", reader.secret)).toEqual([403, "forbidden"]);
    expect(await ask("/manager", writer.secret, "POST")).toEqual([200, null]);
    expect(await ask("/app", old.secret)).toEqual([401, "unauthorized"]);
    expect(await ask("/app", makeToken().secret)).toEqual([401, "unauthorized"]);
    // Also where everybody may come in it goes no further; another Authorization is the service's own.
    const open = parseEcho((await tenant.ask("/open", { headers: bearer(reader.secret) })).body).headers;
    expect(JSON.stringify(open)).not.toContain(reader.secret);
    const basic = parseEcho((await tenant.ask("/open", { headers: { authorization: "Basic eDp5" } })).body).headers;
    expect(basic["authorization"]).toBe("Basic eDp5");
  });

  test("is the way in at the relay host, is no other tenant's, and ends when it is revoked (D16, G05)", async () => {
    const token = makeToken({ prefixes: ["/plant"] });
    const tenant = await makeTenant([toTarget("/plant", "plc", "member"), toTarget("/x", "other", "member")], {
      tokens: [token.kept],
    });
    const other = await makeTenant([toTarget("/plant", "plc", "member")]);
    const relay = async (of: Tenant, target: string, headers = {}) =>
      codeOf(
        await send(stack.port, {
          host: `relay.${BASE}:${stack.port}`,
          path: `/relay/${of.record.slug}/${target}/x`,
          headers: { [ADDRESS]: "192.0.2.1", ...headers },
        }),
      );
    expect(await relay(tenant, "plc", bearer(token.secret))).toEqual([200, null]);
    expect(await relay(tenant, "plc", { accept: HTML })).toEqual([401, "unauthorized"]);
    expect(await relay(tenant, "plc", { accept: HTML, ...(await cookieOf(tenant, "owner")) })).toEqual([
      401,
      "unauthorized",
    ]);
    expect(await relay(tenant, "other", bearer(token.secret))).toEqual([403, "forbidden"]);
    expect(await relay(other, "plc", bearer(token.secret))).toEqual([401, "unauthorized"]);
    const ask = async () => (await tenant.ask("/plant", { headers: bearer(token.secret) })).status;
    expect(await ask()).toBe(200);
    await tenant.change({ policy: {} }, async () => (await ask()) === 401);
  });
});

describe("rules for visitors", () => {
  test("networks and countries, of the tenant and of a route", async () => {
    const tenant = await makeTenant(
      [toService("/app"), { ...toService("/manager"), network: { allow: ["192.0.2.0/28"] } }],
      { network: { deny: ["192.0.2.66"], denyCountries: ["KP"] } },
    );
    const ask = async (path: string, address: string, country = "DE") =>
      codeOf(await tenant.ask(path, { headers: { [ADDRESS]: address, "x-test-country": country } }));
    expect(await ask("/app", "192.0.2.1")).toEqual([200, null]);
    expect(await ask("/app", "192.0.2.66")).toEqual([403, "forbidden"]);
    expect(await ask("/.causeway/sign-out", "192.0.2.66")).toEqual([403, "forbidden"]);
    expect(await ask("/app", "2001:db8::1")).toEqual([200, null]);
    expect(await ask("/app", "192.0.2.1", "KP")).toEqual([403, "forbidden"]);
    expect(await ask("/app", "192.0.2.1", "")).toEqual([403, "forbidden"]);
    // What Cloudflare says where it does not know; not a country that is not on the list.
    const listed = await makeTenant([toService("/app")], { network: { denyCountries: ["RU"] } });
    const from = (country: string) => listed.ask("/app", { headers: { "x-test-country": country } });
    expect(codeOf(await from("XX"))).toEqual([403, "forbidden"]);
    expect(codeOf(await from("RU"))).toEqual([403, "forbidden"]);
    expect(codeOf(await from("T1"))).toEqual([200, null]);
    expect(await ask("/app", "")).toEqual([403, "forbidden"]);
    expect(await ask("/manager", "192.0.2.15")).toEqual([200, null]);
    expect(await ask("/manager", "192.0.2.16")).toEqual([403, "forbidden"]);
  });

  test("rates: 429 with Retry-After for the visitor who asks too much, not for others (P16)", async () => {
    const tenant = await makeTenant([toService("/app")], { limits: { visitorPerMinute: 5 } });
    const ask = (address: string) => tenant.ask("/app", { headers: { [ADDRESS]: address } });
    const statuses = [];
    for (let i = 0; i < 6; i++) statuses.push((await ask("192.0.2.20")).status);
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    const refused = await ask("192.0.2.20");
    expect(codeOf(refused)).toEqual([429, "rate-limited"]);
    expect(Number(refused.headers["retry-after"])).toBeGreaterThanOrEqual(1);
    expect((await ask("192.0.2.21")).status).toBe(200);
  });

  test("rates of the whole tenant hold over all its visitors, not for other tenants (P16)", async () => {
    const routes = [toService("/app")];
    const limited = await makeTenant(routes, { limits: { requestsPerSecond: 3 } });
    const other = await makeTenant(routes, { limits: { requestsPerSecond: 3 } });
    await Promise.all([limited.ask("/none"), other.ask("/none")]); // Both records are there from now on.
    const ask = async (tenant: Tenant, i: number) =>
      (await tenant.ask("/app", { headers: { [ADDRESS]: `192.0.2.${30 + i}` } })).status;
    const statuses = await Promise.all(Array.from({ length: 40 }, (_, i) => ask(limited, i)));
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(10);
    expect(statuses).toContain(200);
    expect(await ask(other, 0)).toBe(200);
  });

  test("bodies: 413, also where no length is declared (P16)", async () => {
    const tenant = await makeTenant([
      { ...toService("/app"), limits: { bodyBytes: 1_000 } },
      { ...toTarget("/plant", "plc"), limits: { bodyBytes: 1_000 } },
    ]);
    for (const path of ["/app", "/plant"]) {
      const post = async (bytes: number, headers: Record<string, string> = {}) =>
        codeOf(await tenant.ask(path, { method: "POST", headers, body: "x".repeat(bytes) }));
      expect(await post(1_000)).toEqual([200, null]);
      expect(await post(1_001)).toEqual([413, "body-too-large"]);
      expect(await post(1_000, { "transfer-encoding": "chunked" })).toEqual([200, null]);
      expect(await post(5_000, { "transfer-encoding": "chunked" })).toEqual([413, "body-too-large"]);
    }
  });

  test("security headers are added where the service says nothing", async () => {
    const tenant = await makeTenant([toService("/app")], { securityHeaders: true });
    const { headers } = await tenant.ask("/app");
    expect(headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "referrer-policy": "strict-origin-when-cross-origin",
      "x-frame-options": "SAMEORIGIN",
    });
    expect(headers["strict-transport-security"]).toBeUndefined(); // Plain http.
    const plain = await (await makeTenant([toService("/app")])).ask("/app");
    expect(plain.headers["x-content-type-options"]).toBeUndefined();
  });

  test("a maintenance page goes before everything but who is let through", async () => {
    const maintenance = { message: "Back at noon.", retryAfterSeconds: 60, allow: ["192.0.2.99"] };
    const tenant = await makeTenant([toService("/app")], { maintenance });
    const page = await tenant.ask("/app", { headers: { accept: HTML } });
    expect([...codeOf(page), page.headers["retry-after"]]).toEqual([503, "maintenance", "60"]);
    expect(page.body).toContain("Back at noon.");
    expect((await tenant.ask("/app", { headers: { [ADDRESS]: "192.0.2.99" } })).status).toBe(200);
    await tenant.change({ policy: {} }, async () => (await tenant.ask("/app")).status === 200);
  });

  test("a notice of the cluster or the platform closes every way in but for whom it allows (D2)", async () => {
    const notice = { message: "Moving house.", retryAfterSeconds: 120, allow: ["192.0.2.99"] };
    const publicRoutes = [toService("/app"), toTarget("/plant", "plc")];
    const tenant = await makeTenant(publicRoutes);
    const west = await makeTenant(publicRoutes);
    await stack.publish({ ...west.record, cluster: "west", revision: 2 });
    const [slug = ""] = tenant.host.split(".");
    let revision = 0;
    const tell = async (scope: string, maintenance: typeof notice | null) => {
      revision += 1;
      for (const shard of await stack.directoryShards()) await shard.putNotice({ scope, maintenance, revision });
    };
    const port = stack.port;
    const ask = async (host: string, path: string, address = "192.0.2.1") =>
      await send(port, { host: `${host}:${port}`, path, headers: { [ADDRESS]: address, accept: HTML } });
    const ways: [string, string][] = [
      [`${slug}.${BASE}`, "/app"],
      [`${slug}.${BASE}`, "/.causeway/jwks.json"],
      [`plc--${slug}.${BASE}`, "/"],
      [`relay.${BASE}`, `/relay/${slug}/plc/`],
      [BASE, "/sign-in"],
      [`nobody.${BASE}`, "/"],
    ];
    const all = async (address?: string, of = ways) =>
      await Promise.all(of.map(async ([host, path]) => codeOf(await ask(host, path, address))[1]));
    const closed = ways.map(() => "maintenance");
    await tell("*", notice);
    try {
      await until("everything to be closed", async () => String(await all()) === String(closed), { timeoutMs: 20_000 });
      const page = await ask(BASE, "/");
      expect([page.status, page.headers["retry-after"]]).toEqual([503, "120"]);
      expect(page.body).toContain("Moving house.");
      expect(await all("192.0.2.99")).not.toContain("maintenance");
      // Also while the directory is away, and at hosts that the edge was never asked for: from the copies.
      await stack.setDirectoryDown(true);
      try {
        const cold: typeof ways = [
          [`plc--${west.record.slug}.${BASE}`, "/"],
          [`stranger.${BASE}`, "/"],
        ];
        const isClosed = async () => (await all(undefined, [...ways, ...cold])).every((code) => code === "maintenance");
        await until("the copies to close everything", isClosed, { timeoutMs: 20_000 });
      } finally {
        await stack.setDirectoryDown(false);
      }
      // Nobody brings the address that is allowed along.
      const spoofed = { "x-forwarded-for": "192.0.2.99", "cf-connecting-ip": "192.0.2.99" };
      expect(codeOf(await tenant.ask("/app", { headers: spoofed }))).toEqual([503, "maintenance"]);
      await tell("*", null);
      await tell("west", notice);
      await until("the other cluster to be closed", async () => (await west.ask("/app")).status === 503, {
        timeoutMs: 20_000,
      });
      await until("the rest to be open", async () => !(await all()).includes("maintenance"), { timeoutMs: 20_000 });
    } finally {
      await tell("*", null);
      await tell("west", null);
    }
    await until("all to be open", async () => (await west.ask("/app")).status === 200, { timeoutMs: 20_000 });
  });

  test("the log names tenant, node, route, who came in, and what node and edge took (H107)", async () => {
    const token = makeToken();
    const tenant = await makeTenant([toService("/app", "member")], { tokens: [token.kept] });
    const { headers } = await tenant.ask("/app", { headers: bearer(token.secret) });
    const line = await until("the line", () =>
      stack.log.find((each) => each["requestId"] === headers["causeway-request-id"]),
    );
    expect(line).toMatchObject({ tenant: tenant.record.slug, route: "/app", serviceToken: token.kept.id, status: 200 });
    expect([typeof line["upstreamMs"], typeof line["firstByteMs"], typeof line["node"]]).toEqual([
      "number",
      "number",
      "string",
    ]);
    expect(JSON.stringify(line)).not.toContain(token.secret);
  });
});

test("a key that was published first signs next without a refused request (D4)", async () => {
  const next = await newKey("proof-2");
  const both = await startTestNode("nod_both", stack.proofKey, 0, [next.public]);
  const rotated = await startEdgeStack(
    "postgres://nobody:nothing@127.0.0.1:1/none",
    { PROOF_PUBLIC_KEYS: JSON.stringify({ keys: [stack.proofKey, next.public] }) },
    {},
    next,
  );
  try {
    for (const each of [stack, rotated])
      await each.publish(tenantRecord("rotated", { id: "nod_both", url: both.url }, { routes: [toService("/app")] }));
    const ask = (port: number) =>
      send(port, { host: `rotated.${BASE}:${port}`, path: "/app", headers: { [ADDRESS]: "192.0.2.1" } });
    expect([(await ask(stack.port)).status, (await ask(rotated.port)).status]).toEqual([200, 200]);
    const host = `rotated.${BASE}:${rotated.port}`;
    const { keys } = JSON.parse((await send(rotated.port, { host, path: "/.causeway/jwks.json" })).body);
    expect(keys.map(({ kid }: { kid: string }) => kid)).toEqual(["proof-2", "proof-1"]);
  } finally {
    await rotated.stop();
    await both.stop();
  }
});
