import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HEADER } from "../../src/protocol/headers.ts";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { hiddenField, HTML } from "./edge/browser.ts";
import { parseEcho, startTestNode, type TestNode } from "./edge/origin.ts";
import { tenantRecord, toService } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// As in production: https, default ports, two base domains and a custom host.
let pg: TestPostgres;
let stack: EdgeStack;
let walter: TestNode;
let hank: TestNode;

beforeAll(async () => {
  pg = await startPostgres();
  const login = { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal };
  stack = await startEdgeStack(pg.url(await pg.createDatabase(), login), {
    BASE_DOMAINS: "example.com,eu.example.com",
    PUBLIC_SCHEME: "https",
    PUBLIC_PORT: "",
    CLIENT_ADDRESS_HEADER: "cf-connecting-ip",
    SCHEME_HEADER: HEADER.clientScheme,
  });
  walter = await startTestNode("nod_walter", stack.proofKey);
  hank = await startTestNode("nod_hank", stack.proofKey);
  const routes = [toService("/app"), toService("/manager", "member")];
  const acme = { host: "acme.example.com", routes };
  await stack.publish(tenantRecord("acme", { id: "nod_walter", url: walter.url }, acme));
  await stack.publish(
    tenantRecord("acme", { id: "nod_walter", url: walter.url }, { ...acme, host: "shop.customer.org" }),
  );
  const other = { host: "acme.eu.example.com", tenantId: "ten_acme_eu", cluster: "eu", routes };
  await stack.publish(tenantRecord("acme", { id: "nod_hank", url: hank.url }, other));
  const owner = { email: "ann@acme.example", password: "correct horse battery", role: "owner" } as const;
  await stack.members.ensureMember({ tenantId: "ten_acme", slug: "acme", cluster: "default", ...owner });
});
afterAll(async () => {
  await stack.stop();
  await Promise.all([walter.stop(), hank.stop(), pg.stop()]);
});

const get = (url: string, headers: Record<string, string> = {}) => stack.fetch(url, { headers });
const cookieOf = (line: string | undefined): string => line?.split(";")[0] ?? "";

test("the service learns that the visitor came by https (H09)", async () => {
  const { headers } = parseEcho(
    await (await get("https://acme.example.com/app", { "cf-connecting-ip": "192.0.2.9" })).text(),
  );
  expect(headers).toMatchObject({
    "x-forwarded-for": "192.0.2.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "acme.example.com",
    "x-forwarded-port": "443",
  });
});

test("behind a master that ended TLS the scheme is what the master says", async () => {
  const protoOf = async (url: string, said: string | null) => {
    const answer = await get(url, said === null ? {} : { [HEADER.clientScheme]: said });
    const { headers } = parseEcho(await answer.text());
    // Only for the edge itself.
    expect(headers[HEADER.clientScheme]).toBeUndefined();
    return headers["x-forwarded-proto"];
  };
  expect(await protoOf("http://acme.example.com/app", "https")).toBe("https");
  expect(await protoOf("http://acme.example.com/app", null)).toBe("http");
  expect(await protoOf("https://acme.example.com/app", "http")).toBe("http");
  expect(await protoOf("https://acme.example.com/app", "gopher")).toBe("https");
});

test("the visitor's country is what the runtime says beside the request; no header of the visitor's is believed", async () => {
  const to = { id: "nod_walter", url: walter.url };
  const policy = { network: { allowCountries: ["DE"] } };
  await stack.publish(tenantRecord("fenced", to, { host: "fenced.example.com", routes: [toService("/app")], policy }));
  const from = async (country: string | null, headers: Record<string, string> = {}) => {
    const cf = country === null ? {} : { cf: { country } };
    return (await stack.fetch("https://fenced.example.com/app", { headers, ...cf })).status;
  };
  expect([await from("DE"), await from("FR"), await from("XX"), await from(null)]).toEqual([200, 403, 403, 403]);
  for (const name of ["cf-ipcountry", "x-country", "x-test-country", "cloudfront-viewer-country"]) {
    expect(await from("FR", { [name]: "DE" })).toBe(403);
    expect(await from(null, { [name]: "DE" })).toBe(403);
  }
});

test("the same name in two clusters is two tenants on their own nodes (G01, G02, G03, D12)", async () => {
  const proofOf = async (url: string) => parseEcho(await (await get(url)).text()).proof;
  expect(await proofOf("https://acme.example.com/app")).toMatchObject({ tenant: "ten_acme", aud: "nod_walter" });
  expect(await proofOf("https://acme.eu.example.com/app")).toMatchObject({ tenant: "ten_acme_eu", aud: "nod_hank" });
  // Nothing in the request but the host chooses: no path, header or cookie.
  const headers = {
    "x-tenant-id": "ten_acme_eu",
    cookie: "tenant=ten_acme_eu",
    "x-forwarded-host": "acme.eu.example.com",
  };
  const echo = parseEcho(await (await get("https://acme.example.com/app?tenant=ten_acme_eu", headers)).text());
  expect(echo.proof.tenant).toBe("ten_acme");
});

test("a custom host is the same tenant by the same rules (D10)", async () => {
  const echo = parseEcho(await (await get("https://shop.customer.org/app")).text());
  expect(echo.proof).toMatchObject({ tenant: "ten_acme", host: "shop.customer.org" });
  expect((await get("https://shop.customer.org/manager")).status).toBe(401);
});

test("targets of a tenant in another cluster are named slug@cluster", async () => {
  const found = await get("https://relay.example.com/relay/acme@eu/echo/x");
  expect(found.status).toBe(200);
  expect((await get("https://relay.example.com/relay/acme@mars/echo/x")).status).toBe(404);
});

describe("sign-in on https", () => {
  const start = async (page: string) => {
    const asked = await get(page, { accept: HTML });
    return { location: new URL(asked.headers.get("location") ?? ""), cookies: asked.headers.getSetCookie() };
  };

  test.each(["acme.example.com", "shop.customer.org"])("sets cookies of %s alone (__Host-)", async (host) => {
    const { location, cookies } = await start(`https://${host}/manager?x=1`);
    expect(location.origin).toBe("https://example.com");
    expect(cookies[0]).toMatch(/^__Host-causeway-state-[^;]+; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure$/);

    const form = await (await get(location.toString(), { accept: HTML })).text();
    const posted = await stack.fetch("https://example.com/sign-in", {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded", origin: "https://example.com", accept: HTML },
      body: new URLSearchParams({
        email: "ann@acme.example",
        password: "correct horse battery",
        next: hiddenField(form, "next"),
      }).toString(),
    });
    const portalCookie = posted.headers.getSetCookie()[0];
    expect(portalCookie).toMatch(/^__Host-causeway-portal=.*; Secure/);
    expect(portalCookie).not.toMatch(/domain/i);

    const authorized = await get(new URL(posted.headers.get("location") ?? "", "https://example.com").toString(), {
      cookie: cookieOf(portalCookie),
      accept: HTML,
    });
    const back = new URL(authorized.headers.get("location") ?? "");
    expect(back.origin).toBe(`https://${host}`);
    const done = await get(back.toString(), { cookie: cookieOf(cookies[0]), accept: HTML });
    expect([done.status, done.headers.get("location")]).toEqual([303, `https://${host}/manager?x=1`]);
    const session = done.headers.getSetCookie()[0];
    expect(session).toMatch(/^__Host-causeway=[^;]+; Path=\/; Max-Age=7200; HttpOnly; SameSite=Lax; Secure$/);
    expect((await get(`https://${host}/manager`, { cookie: cookieOf(session) })).status).toBe(200);
    // The unprefixed name, which plain http could plant, means nothing here.
    expect((await get(`https://${host}/manager`, { cookie: cookieOf(session).replace("__Host-", "") })).status).toBe(
      401,
    );
  });

  test("never begins on plain http", async () => {
    const { location, cookies } = await start("http://acme.example.com/manager?x=1");
    expect(location.toString()).toBe("https://acme.example.com/manager?x=1");
    expect(cookies).toEqual([]);
  });
});
