import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importJWK, SignJWT } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { BASE_DOMAIN, startProduct, type ObjectCall, type Product } from "../../bench/scenarios/product.ts";
import { hashVisitorPassword } from "../../src/console/visitor-password.ts";
import { renderTenant } from "../../src/node-agent/envoy/render.ts";
import { encodeTenant } from "../../src/node-agent/xds/codec.ts";
import { directoryShard, type DirectoryRecord, type TenantRoute } from "../../src/policy/record.ts";
import { connectorGrant } from "../../src/protocol/lane.ts";
import { stopChildren } from "../support/children.ts";
import { startBareEnvoy, type BareEnvoy } from "../support/envoy.ts";
import { until } from "../support/until.ts";
import { createSite, web, type Site } from "./connector/site.ts";
import { send, type Answer, type Send } from "./edge/browser.ts";
import { rawRequest } from "./edge/raw-request.ts";
import { startRecordingOrigin, type Recorded, type RecordingOrigin } from "./edge/recording-origin.ts";
import { newKey } from "./edge/stack.ts";

/*
 * Attacks on the whole way: raw sockets to the real edge on bare workerd, from there to a service behind a real Envoy and to a target behind
 * real lanes and a real connector. Both origins have lenient parsers, so that what the hops before them read differently would show.
 *
 * The rest of the suite stands where its parts are:
 * - Host tricks, absolute-form targets, dot segments, redirects to other hosts, bodies of GET: edge-routing.test.ts, "hostile requests".
 * - What a visitor or service says in our name: edge-routing.test.ts, edge-targets.test.ts, edge-to-envoy.test.ts, edge-access.test.ts.
 * - Code replay, sessions of other tenants, forged and unsigned tokens, redirects after sign-in: edge-sign-in.test.ts.
 * - Forms of other sites, planted sessions, links by a forged Host: edge-sign-in.test.ts, edge-portal-accounts.test.ts, "attacks".
 * - Service tokens and passes of other tenants, guessing: edge-access.test.ts. Hosts that another tenant has: hosts.test.ts.
 * - Names that are given anew while the edge knows the old tenant: edge-to-envoy.test.ts, edge-tenants-load.test.ts.
 * - The Node host of the relay: relay-node-attacks.test.ts.
 */
const NODE = "nod_walter";
const ACME = { id: "ten_acme", slug: "acme", host: `acme.${BASE_DOMAIN}` };
const GLOBEX = { id: "ten_globex", slug: "globex", host: `globex.${BASE_DOMAIN}` };
const GLOBEX_SHOP = "shop.globex.example";
const WAYS = [
  ["a service", "/app"],
  ["a target", "/plant"],
] as const;
const folder = mkdtempSync(join(tmpdir(), "cw-attacks-"));
let product: Product;
let envoy: BareEnvoy;
let site: Site;
let service: RecordingOrigin;
let target: RecordingOrigin;
let other: RecordingOrigin;
let sessionKey: string;
let port: number;

/** What came to the service and the target of acme, and to the service of globex, in this test. */
const seen: Recorded[] = [];
const seenByGlobex: Recorded[] = [];
beforeEach(() => {
  seen.length = 0;
  seenByGlobex.length = 0;
});

beforeAll(async () => {
  const session = await newKey("session-1");
  sessionKey = session.private;
  product = await startProduct(folder, {
    ACCESS_LOG: "off",
    SESSION_PUBLIC_KEYS: JSON.stringify({ keys: [session.public] }),
  });
  port = Number(new URL(product.url).port);
  [envoy, service, target, other] = await Promise.all([
    startBareEnvoy(NODE, [product.proofKey.public]),
    startRecordingOrigin("service of acme", seen),
    startRecordingOrigin("target of acme", seen),
    startRecordingOrigin("service of globex", seenByGlobex),
  ]);
  for (const [tenant, origin] of [
    [ACME, service],
    [GLOBEX, other],
  ] as const) {
    const hosts = tenant === GLOBEX ? [GLOBEX.host, GLOBEX_SHOP] : [ACME.host];
    const endpoints = new Map([["app", { address: "127.0.0.1", port: origin.port }]]);
    const nodeRoutes = ["/app", "/members", "/locked"].map((prefix) => ({ prefix, service: "app" }));
    const spec = { tenantId: tenant.id, slug: tenant.slug, revision: 1, hosts, routes: nodeRoutes, services: [] };
    envoy.xds.run(envoy.planner.put(encodeTenant(tenant.id, 1, renderTenant(spec, endpoints))));
    await product.call(hosts.map((host) => publish(tenant, host)));
  }
  await until("envoy took both", () => envoy.effects.filter(({ kind }) => kind === "accepted").length === 2);
  site = createSite();
  const grant = connectorGrant.parse({
    tenantId: ACME.id,
    tenant: ACME.slug,
    connectorId: "con_1",
    name: "plant-1",
    revision: 1,
    disabled: false,
    keys: [site.publicKey],
    targets: null,
  });
  await product.call(
    (["LANE_A", "LANE_B"] as const).map((namespace) => ({
      namespace,
      name: ACME.id,
      method: "putConnector",
      args: [grant],
    })),
  );
  site.connector({ relay: `http://relay.${BASE_DOMAIN}:${port}`, targets: [web("plant", target.url)] });
  for (const [, path] of WAYS) await until(`${path} to answer`, async () => (await ask(path)).status === 200);
});
afterAll(async () => {
  await site.close();
  await envoy.xds.close();
  await stopChildren();
  await product.child.kill();
  for (const origin of [service, target, other]) origin.stop();
  rmSync(folder, { recursive: true, force: true });
});

const password = await hashVisitorPassword("open sesame");

function publish(tenant: typeof ACME, host: string): ObjectCall {
  const toService = { kind: "service", service: "app" } as const;
  const routes: TenantRoute[] = [
    { prefix: "/app", access: "public", to: toService },
    { prefix: "/plant", access: "public", to: { kind: "target", target: "plant" } },
    { prefix: "/members", access: "member", to: toService },
    { prefix: "/locked", access: "password", to: toService },
  ];
  const record: DirectoryRecord = {
    host,
    tenantId: tenant.id,
    slug: tenant.slug,
    cluster: "default",
    state: "active",
    node: { id: NODE, name: "walter", url: envoy.url },
    routes,
    policy: { password },
    accessRevision: 0,
    notBefore: {},
    revision: 1,
  };
  return { namespace: "DIRECTORY", name: directoryShard(host), method: "publish", args: [record] };
}

const ask = (path: string, over: Partial<Send> = {}): Promise<Answer> => send(port, { host: ACME.host, path, ...over });
const answersIn = (received: string): number => (received.match(/HTTP\/1\.1 \d/g) ?? []).length;

test.each(["/plant/caf\xc3\xa9", "/plant/?q=caf\xc3\xa9"])(
  "an address with octets beyond ASCII is refused as the visitor's, not blamed on the target: %j",
  async (path) => {
    const received = await rawRequest(port, `GET ${path} HTTP/1.1\r\nHost: ${ACME.host}\r\nConnection: close\r\n\r\n`);
    expect(received).toMatch(/^HTTP\/1\.1 400 [^]*causeway-error: bad-request\r\n[^]*percent-encoded/i);
    expect(seen).toEqual([]);
  },
);

describe("a second request in the body of a first", () => {
  const CHUNKED = "Transfer-Encoding: chunked";
  const END = "0\r\n\r\n";
  test.each<[what: string, headers: string | null, beginning: string]>([
    ["length and chunks", `Content-Length: LENGTH\r\n${CHUNKED}`, END],
    ["chunks and length", `${CHUNKED}\r\nContent-Length: LENGTH`, END],
    ["two lengths", "Content-Length: LENGTH\r\nContent-Length: 5", END],
    ["the same length in a list", "Content-Length: 5, 5", END],
    ["a length in hexadecimal", "Content-Length: 0x5", END],
    ["a length with a sign", "Content-Length: +5", END],
    ["a negative length", "Content-Length: -1", END],
    ["a length beyond 64 bits", "Content-Length: 18446744073709551621", END],
    ["a length with a blank in it", "Content-Length: 5 5", END],
    ["an unknown coding", "Content-Length: LENGTH\r\nTransfer-Encoding: xchunked", END],
    ["chunks that are not last", "Content-Length: LENGTH\r\nTransfer-Encoding: chunked, identity", END],
    ["chunks twice", "Transfer-Encoding: chunked, chunked", END],
    ["two codings", `${CHUNKED}\r\nTransfer-Encoding: x`, END],
    ["a coding in quotes", 'Content-Length: LENGTH\r\nTransfer-Encoding: "chunked"', END],
    ["a coding after a vertical tab", "Content-Length: LENGTH\r\nTransfer-Encoding: \x0bchunked", END],
    ["a coding after a tab", "Content-Length: LENGTH\r\nTransfer-Encoding:\tchunked", END],
    ["a blank before the colon", "Content-Length: LENGTH\r\nTransfer-Encoding : chunked", END],
    ["an underscore in the name", "Content-Length: LENGTH\r\nTransfer_Encoding: chunked", END],
    ["a folded field", `Content-Length: LENGTH\r\nX-A: b\r\n ${CHUNKED}`, END],
    ["a field after a bare line feed", `Content-Length: LENGTH\r\nX-A: b\n${CHUNKED}`, END],
    ["a field after a bare carriage return", `Content-Length: LENGTH\r\nX-A: b\r${CHUNKED}`, END],
    ["a chunk's size beyond 64 bits", CHUNKED, "10000000000000000\r\n"],
    ["a chunk's size with 0x", CHUNKED, "0x0\r\n\r\n"],
    ["a negative chunk", CHUNKED, "-1\r\n\r\n"],
    ["chunks that end in bare line feeds", CHUNKED, "1\nA\n0\n\n"],
    ["a chunk without its end", CHUNKED, "1\r\nAB0\r\n\r\n"],
    ["a line feed in a chunk's extension", CHUNKED, "1;a\nb\r\nA\r\n0\r\n\r\n"],
    ["an upgrade to HTTP/2", "Content-Length: 0\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", ""],
    ["an upgrade to a WebSocket that is none", "Content-Length: 0\r\nUpgrade: websocket", ""],
    ["a wait for 100 Continue", "Content-Length: LENGTH\r\nExpect: 100-continue", END],
  ])("by %s reaches neither service nor target", async (_, headers, beginning) => {
    await Promise.all(
      WAYS.map(async ([, path]) => {
        const second = `GET ${path}/smuggled HTTP/1.1\r\nHost: ${ACME.host}\r\n\r\n`;
        const body = beginning + second;
        const fields = (headers ?? "").replace("LENGTH", String(body.length));
        const closing = fields.includes("Upgrade") ? "Upgrade, HTTP2-Settings, close" : "close";
        const received = await rawRequest(
          port,
          `POST ${path}/first HTTP/1.1\r\nHost: ${ACME.host}\r\nConnection: ${closing}\r\n${fields}\r\n\r\n${body}`,
        );
        expect(answersIn(received.replace("HTTP/1.1 100 Continue\r\n\r\n", ""))).toBeLessThanOrEqual(1);
      }),
    );
    expect(seen.length).toBeLessThanOrEqual(2);
    for (const { url, headers: came } of seen) {
      expect(url).not.toContain("smuggled");
      const names = came.map(([name]) => name.toLowerCase());
      const framing = names.filter((name) => name === "content-length" || name === "transfer-encoding");
      expect(framing.length).toBeLessThanOrEqual(1);
      expect(names.filter((name) => name === "host")).toHaveLength(1);
    }
    // Whoever comes next on the connections behind the edge gets an answer of their own.
    for (const [, path] of WAYS) expect((await ask(`${path}/next`)).status).toBe(200);
    expect(seen.some(({ url }) => url.includes("smuggled"))).toBe(false);
  });
});

describe("a request that hops could read differently", () => {
  test.each(WAYS)(
    "names no field of ours to be dropped on the way to %s, or added behind its body",
    async (_, path) => {
      const named =
        "close, x-forwarded-for, x-forwarded-host, causeway-proof, causeway-visit, host, x-edge-tenant, cookie";
      const trailers = "X-Forwarded-For: 6.6.6.6\r\nCauseway-Account: root\r\nX-Edge-Tenant: ten_globex\r\n";
      const received = await rawRequest(
        port,
        `POST ${path}/hop HTTP/1.1\r\nHost: ${ACME.host}\r\nConnection: ${named}\r\nTransfer-Encoding: chunked\r\n` +
          `Trailer: x-forwarded-for\r\n\r\n1\r\nA\r\n0\r\n${trailers}\r\n`,
      );
      expect(received).toMatch(/^HTTP\/1\.1 200 /);
      const request = seen.find(({ url }) => url.endsWith("/hop") && (path === "/app") === url.startsWith("/app"));
      const fields = new Map(request?.headers.map(([name, value]) => [name.toLowerCase(), value]));
      expect(fields.get("x-forwarded-for")).toBe("127.0.0.1");
      expect(fields.get("x-forwarded-host")).toBe(ACME.host);
      expect(JSON.stringify(request)).not.toMatch(/6\.6\.6\.6|root|globex|causeway-proof|causeway-visit/i);
      expect(request?.body).toBe("A");
    },
  );

  test.each([
    ["no method", `/app HTTP/1.1`],
    ["a method with a blank", `GE T /app HTTP/1.1`],
    ["HTTP/0.9", "GET /app"],
    ["HTTP/3", "GET /app HTTP/3.0"],
    ["two versions", "GET /app HTTP/1.1 HTTP/1.1"],
    ["a NUL in the path", "GET /app/\0 HTTP/1.1"],
    ["a line feed in the path", "GET /app/\nX-A: b HTTP/1.1"],
    ["CONNECT", `CONNECT ${ACME.host}:443 HTTP/1.1`],
    ["TRACE", "TRACE /app HTTP/1.1"],
    ["an asterisk", "OPTIONS * HTTP/1.1"],
    ["a path without a slash", "GET app HTTP/1.1"],
    ["a host in place of a path", `GET //${GLOBEX.host}/app HTTP/1.1`],
    ["a file", "GET file:///etc/passwd HTTP/1.1"],
  ])("%s gets no answer of a tenant's", async (_, line) => {
    const received = await rawRequest(port, `${line}\r\nHost: ${ACME.host}\r\nConnection: close\r\n\r\n`);
    expect(received).not.toMatch(/^HTTP\/1\.1 200 /);
    expect(received).not.toMatch(/of acme|of globex/);
    expect(seen).toEqual([]);
  });

  test.each([
    ["another scheme", `ftp://${ACME.host}`],
    ["another tenant's host", `http://${GLOBEX.host}`],
    ["a user", `http://x@${ACME.host}`],
    ["another tenant's host behind a user", `http://${ACME.host}@${GLOBEX.host}`],
    ["another tenant's host before a backslash", `http://${GLOBEX.host}\\@${ACME.host}`],
    ["https, where nobody encrypted", `https://${ACME.host}`],
  ])(
    "%s in the request line leads nowhere but to the Host field's tenant, and tells it nothing",
    async (_, address) => {
      await rawRequest(port, `GET ${address}/app/line HTTP/1.1\r\nHost: ${ACME.host}\r\nConnection: close\r\n\r\n`);
      expect(seenByGlobex).toEqual([]);
      for (const { url, headers } of seen) {
        expect(url).toBe("/app/line");
        const fields = Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));
        expect(fields).toMatchObject({ host: ACME.host, "x-forwarded-host": ACME.host, "x-forwarded-proto": "http" });
      }
    },
  );

  test.each([
    ["a field of 256 KiB", `X-Long: ${"a".repeat(256 * 1024)}\r\n`, ""],
    ["20,000 fields", "X-A: b\r\n".repeat(20_000), ""],
    ["an address of 256 KiB", "", "x".repeat(256 * 1024)],
  ])("%s is refused, and others go on", async (_, fields, tail) => {
    for (const [, path] of WAYS) {
      const raw = `GET ${path}/${tail} HTTP/1.1\r\nHost: ${ACME.host}\r\nConnection: close\r\n${fields}\r\n`;
      expect(await rawRequest(port, raw)).not.toMatch(/^HTTP\/1\.1 2/);
      expect((await ask(`${path}/after`)).status).toBe(200);
    }
  });
});

describe("what a cache in front might keep", () => {
  const evil = "evil.example";
  const poison = {
    "x-forwarded-host": evil,
    "x-host": evil,
    "x-forwarded-server": evil,
    "x-original-url": "/members",
    "x-rewrite-url": "/members",
    "x-http-method-override": "DELETE",
    "x-forwarded-scheme": "nothttps",
    "x-forwarded-port": "1337",
    forwarded: `host=${evil}`,
  };
  test.each(["/app/x", "/plant/x", "/members", "/nothing", "/locked", "/.causeway/callback"])(
    "of %s says nothing that came in a field, and an error of ours may not be kept",
    async (path) => {
      const answer = await ask(path, { headers: poison });
      const plain = await ask(path);
      expect(answer.status).toBe(plain.status);
      expect(JSON.stringify(answer.headers) + answer.body).not.toMatch(/evil|1337|nothttps/);
      if (answer.status >= 300) expect(answer.headers["cache-control"]).toContain("no-store");
      for (const { method, headers } of seen) {
        expect(method).toBe("GET");
        expect(new Map(headers.map(([name, value]) => [name.toLowerCase(), value])).get("x-forwarded-host")).toBe(
          ACME.host,
        );
      }
    },
  );
});

describe("what is good at one place", () => {
  const sign = async (jwk: string, claims: Record<string, unknown>): Promise<string> => {
    const key = JSON.parse(jwk);
    return await new SignJWT({ iat: Math.floor(Date.now() / 1_000), ...claims })
      .setProtectedHeader({ alg: "EdDSA", kid: key.kid })
      .setExpirationTime("5m")
      .sign(await importJWK(key, "EdDSA"));
  };
  const session = (jwk: string, over: Record<string, unknown> = {}) =>
    sign(jwk, {
      iss: "causeway-portal",
      aud: ACME.id,
      sub: "usr_ann",
      sid: "ses_1",
      accessRevision: 0,
      role: "owner",
      ...over,
    });
  const edgeKey = () => JSON.stringify(product.proofKey.private);
  const proof = { iss: "causeway-edge", aud: NODE, tenant: ACME.id, host: ACME.host };
  const atMembers = async (host: string, token: string) =>
    (await ask("/members", { host, headers: { cookie: `causeway=${token}` } })).status;

  test("as a session is none at another tenant's host, base domain or customer's own", async () => {
    const good = await session(sessionKey);
    expect(await atMembers(ACME.host, good)).toBe(200);
    for (const host of [GLOBEX.host, GLOBEX_SHOP, `${GLOBEX.host}.`, `${GLOBEX_SHOP}:${port}`])
      expect(await ask("/members", { host, headers: { cookie: `causeway=${good}` } }), host).toMatchObject({
        status: 401,
      });
    expect(seenByGlobex).toEqual([]);
  });

  test("as a token for one purpose is none for another, though one key signs them", async () => {
    const identity = { iss: "causeway-edge-identity", aud: ACME.id, sub: "usr_ann", tenant: "acme", kind: "account" };
    const pass = { iss: "causeway-edge-pass", aud: ACME.id, pw: password.id, accessRevision: 0 };
    for (const claims of [identity, pass, proof]) {
      const token = await sign(edgeKey(), { role: "owner", sid: "ses_1", accessRevision: 0, ...claims });
      expect(await atMembers(ACME.host, token), claims.iss).toBe(401);
    }
    expect(await atMembers(ACME.host, await session(edgeKey()))).toBe(401);
    // The edge's pass opens what the password opens; others' and other tokens don't.
    const passed = async (token: string, host = ACME.host) =>
      (await ask("/locked", { host, headers: { cookie: `causeway-pass=${token}` } })).status;
    const good = await sign(edgeKey(), pass);
    expect([await passed(good), await passed(good, GLOBEX.host), await passed(good, GLOBEX_SHOP)]).toEqual([
      200, 401, 401,
    ]);
    expect(await passed(await session(sessionKey))).toBe(401);
    expect(await passed(await sign(edgeKey(), { ...pass, ...identity }))).toBe(401);
    // A service that was told who came in can't talk to a node by it.
    const direct = async (token: string) =>
      (await fetch(`${envoy.url}/app`, { headers: { "causeway-proof": token } })).status;
    expect(await direct(await sign(edgeKey(), proof))).toBe(200);
    for (const claims of [identity, pass])
      expect(await direct(await sign(edgeKey(), { ...proof, ...claims }))).not.toBe(200);
    expect(await direct(await session(sessionKey, proof))).not.toBe(200);
    // Where a proof names no host, the request can't either.
    const nameless = await sign(edgeKey(), { ...proof, host: undefined });
    const headers = { "causeway-proof": nameless, "x-edge-scope": ACME.host, "x-causeway-host": ACME.host };
    expect((await fetch(`${envoy.url}/app`, { headers })).status).toBe(404);
  });

  test("as several sessions or passes in one Cookie field, the stranger's does not help", async () => {
    const forged = await session(edgeKey());
    const strange = await session(sessionKey, { aud: GLOBEX.id });
    for (const cookie of [`causeway=${forged}; causeway=${strange}`, `causeway="${strange}"`, `CAUSEWAY=${strange}`])
      expect((await ask("/members", { headers: { cookie } })).status).toBe(401);
  });
});
