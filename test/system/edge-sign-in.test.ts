import { randomBytes, createHash } from "node:crypto";
import { decodeJwt, importJWK, SignJWT } from "jose";
import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { EnsureMemberInput } from "../../src/protocol/portal-rpc.ts";
import { z } from "zod";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { until } from "../support/until.ts";
import { createBrowser, hiddenField, HTML, send } from "./edge/browser.ts";
import { parseEcho, startTestNode, type TestNode } from "./edge/origin.ts";
import { BASE, tenantRecord, toService, toTarget } from "./edge/records.ts";
import { newKey, startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// Sign-in from end to end: a scripted browser, the real edge, portal and directory on workerd, better-auth on a real PostgreSQL.
const NODE = "nod_1";
let pg: TestPostgres;
let sql: postgres.Sql;
let stack: EdgeStack;
let node: TestNode;

const routes = [toService("/app"), toService("/manager", "member"), toTarget("/plc", "plc", "member")];
const record = (slug: string, over = {}) => tenantRecord(slug, { id: NODE, url: node.url }, { routes, ...over });
const url = (slug: string, path = "/"): string => `http://${slug}.${BASE}:${stack.port}${path}`;
const portalUrl = (path = "/"): string => `http://${BASE}:${stack.port}${path}`;
const PASSWORD = "correct horse battery";
const memberOf = (slug: string, email: string, over: Partial<EnsureMemberInput> = {}): EnsureMemberInput => ({
  tenantId: `ten_${slug}`,
  slug,
  cluster: "default",
  email,
  password: PASSWORD,
  role: "owner",
  ...over,
});

beforeAll(async () => {
  pg = await startPostgres();
  const database = await pg.createDatabase();
  // As the portal's own role, so that a missing right would show.
  stack = await startEdgeStack(pg.url(database, { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal }));
  sql = postgres(pg.url(database), { max: 2, onnotice: () => {} });
  node = await startTestNode(NODE, stack.proofKey);
  await stack.publish(record("acme"));
  await stack.publish(record("globex"));
  await stack.members.ensureMember(memberOf("acme", "ann@acme.example"));
  await stack.members.ensureMember(memberOf("globex", "gus@globex.example"));
});
afterAll(async () => {
  await stack.stop();
  await node.stop();
  await sql.end();
  await pg.stop();
});
// Many tests sign in from the one address that they all have.
beforeEach(async () => {
  await sql`delete from portal.rate_limit`;
});

type Browser = ReturnType<typeof createBrowser>;

/** Opens a protected page, fills the form that comes, and follows to where that leads. */
async function signIn(browser: Browser, page: string, email: string, password = PASSWORD) {
  const asked = await browser.follow(page);
  expect(asked.answer.status).toBe(200);
  const form = { email, password, next: hiddenField(asked.answer.body, "next") };
  const posted = await browser.visit(portalUrl("/sign-in"), form);
  if (posted.headers.location === undefined) return { answer: posted, urls: asked.urls };
  const landed = await browser.follow(new URL(posted.headers.location, portalUrl()).toString());
  return { answer: landed.answer, urls: [...asked.urls, ...landed.urls] };
}

describe("a protected page", () => {
  test("sends a browser to sign in and back to the same address, with a session of this host only (H15, D1)", async () => {
    const browser = createBrowser(stack.port);
    const page = url("acme", "/manager/a%2Fb?x=1&y=%20");
    const { answer, urls } = await signIn(browser, page, "ann@acme.example");
    expect(answer.status).toBe(200);
    expect(urls.map((each) => new URL(each).host.split(":")[0] + new URL(each).pathname)).toEqual([
      `acme.${BASE}/manager/a%2Fb`,
      `${BASE}/authorize`,
      `${BASE}/authorize`,
      `acme.${BASE}/.causeway/callback`,
      `acme.${BASE}/manager/a%2Fb`,
    ]);
    expect(urls.at(-1)).toBe(page);
    const echo = parseEcho(answer.body);
    expect(echo.path).toBe("/manager/a%2Fb?x=1&y=%20");
    // The service sees no cookie of ours; the browser holds the session only, the one for the way is gone.
    expect(echo.headers["cookie"]).toBeUndefined();
    expect([...browser.cookies(`acme.${BASE}`).keys()]).toEqual(["causeway"]);
    expect([...browser.cookies(BASE).keys()]).toEqual(["causeway-portal"]);
    const claims = decodeJwt(browser.cookies(`acme.${BASE}`).get("causeway") ?? "");
    expect(claims).toMatchObject({ iss: "causeway-portal", aud: "ten_acme", accessRevision: 0 });
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(2 * 3_600);
    expect((await browser.visit(url("acme", "/manager"))).status).toBe(200);
  });

  test("never puts the return address, the verifier or a session into a link", async () => {
    const browser = createBrowser(stack.port);
    const { urls } = await signIn(browser, url("acme", "/manager/return-here"), "ann@acme.example");
    const token = browser.cookies(`acme.${BASE}`).get("causeway") ?? "none";
    for (const each of urls.slice(1, -1)) {
      expect(each).not.toContain("return-here");
      expect(each).not.toContain("verifier");
      expect(each).not.toContain(token);
    }
  });

  test("answers programs, pictures and forms with 401 (H15)", async () => {
    const host = `acme.${BASE}:${stack.port}`;
    for (const [method, headers] of [
      ["GET", {}],
      ["GET", { accept: "application/json" }],
      ["POST", { accept: HTML }],
      ["GET", { accept: HTML, "sec-fetch-dest": "image" }],
    ] as const) {
      const answer = await send(stack.port, { host, path: "/manager", method, headers });
      expect([answer.status, answer.headers["causeway-error"]]).toEqual([401, "unauthorized"]);
      expect(answer.headers["www-authenticate"]).toBeDefined();
    }
  });

  test("of a target's own host works the same", async () => {
    const browser = createBrowser(stack.port);
    const { answer } = await signIn(browser, url("plc--acme", "/x"), "ann@acme.example");
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({ visit: { target: "plc" } });
    // The cookie of one host is not one of the other.
    expect(browser.cookies(`acme.${BASE}`).has("causeway")).toBe(false);
  });

  test("is opened without a form while the portal's session lasts", async () => {
    const browser = createBrowser(stack.port);
    await signIn(browser, url("acme", "/manager"), "ann@acme.example");
    const { answer, urls } = await browser.follow(url("plc--acme", "/y"));
    expect(answer.status).toBe(200);
    expect(urls).toHaveLength(4);
  });

  test("open in several tabs at once leads each tab back to its own address", async () => {
    const browser = createBrowser(stack.port);
    const one = await browser.visit(url("acme", "/manager/one"));
    const two = await browser.visit(url("acme", "/manager/two"));
    const posted = await browser.visit(portalUrl("/sign-in"), {
      email: "ann@acme.example",
      password: PASSWORD,
      next: new URL(one.headers.location ?? "").pathname + new URL(one.headers.location ?? "").search,
    });
    const first = await browser.follow(new URL(posted.headers.location ?? "", portalUrl()).toString());
    const second = await browser.follow(two.headers.location ?? "");
    expect(first.urls.at(-1)).toBe(url("acme", "/manager/one"));
    expect(second.urls.at(-1)).toBe(url("acme", "/manager/two"));
  });

  test.each([
    [`/root//evil.example/x`, "/root//evil.example/x"],
    ["//evil.example/x", "/"],
    ["/\\evil.example/x", "/"],
    [`/${"x".repeat(3_000)}?y`, "/"],
    [`/x?${"y".repeat(3_000)}`, "/x"],
  ])("with an address like %.30s returns to this host and nowhere else", async (path, returned) => {
    await stack.publish(record("rooted", { routes: [toService("/", "member")] }));
    await stack.members.ensureMember(memberOf("rooted", "ann@acme.example"));
    const browser = createBrowser(stack.port);
    const host = `rooted.${BASE}:${stack.port}`;
    const asked = await send(stack.port, { host, path, headers: { accept: HTML } });
    const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(asked.headers["set-cookie"]?.[0] ?? "") ?? [];
    browser.setCookie(`rooted.${BASE}`, name, value);
    const { urls } = await signIn(browser, asked.headers.location ?? "", "ann@acme.example");
    expect(urls.at(-1)).toBe(url("rooted", returned));
  });

  test("asked for over and over does not pile up cookies", async () => {
    const browser = createBrowser(stack.port);
    for (let i = 0; i < 20; i++) await browser.visit(url("acme", "/manager"));
    expect(browser.cookies(`acme.${BASE}`).size).toBeLessThanOrEqual(4);
  });
});

describe("somebody who may not", () => {
  test("as a member of another tenant is refused (H16)", async () => {
    const browser = createBrowser(stack.port);
    const { answer } = await signIn(browser, url("globex", "/manager"), "ann@acme.example");
    expect([answer.status, answer.headers["causeway-error"]]).toEqual([403, "forbidden"]);
    expect(answer.body).toContain("no member");
    expect(browser.cookies(`globex.${BASE}`).has("causeway")).toBe(false);
  });

  test("a session of one tenant is none on another's host (G05, G04)", async () => {
    const browser = createBrowser(stack.port);
    await signIn(browser, url("acme", "/manager"), "ann@acme.example");
    const token = browser.cookies(`acme.${BASE}`).get("causeway") ?? "";
    const answer = await send(stack.port, {
      host: `globex.${BASE}`,
      path: "/manager",
      headers: { cookie: `causeway=${token}` },
    });
    expect(answer.status).toBe(401);
  });

  test.each([
    ["a wrong password", "ann@acme.example", "wrong horse battery"],
    ["an unknown address", "nobody@acme.example", PASSWORD],
    ["a text that is no address", "ann", PASSWORD],
  ])("with %s sees the form again, with nothing told", async (_, email, password) => {
    const browser = createBrowser(stack.port);
    const { answer } = await signIn(browser, url("acme", "/manager"), email, password);
    expect([answer.status, answer.headers["causeway-error"]]).toEqual([401, "unauthorized"]);
    expect(answer.body).toContain("E-mail or password is wrong.");
    expect(answer.body).not.toContain(password);
    expect(hiddenField(answer.body, "next")).toMatch(/^\/authorize\?host=acme/);
    expect([...browser.cookies(BASE).keys()]).toEqual(["causeway-portal-next"]);
  });

  test("guesses only so often", async () => {
    const browser = createBrowser(stack.port);
    const statuses: number[] = [];
    for (let i = 0; i < 12; i++) {
      const form = { email: "ann@acme.example", password: `guess number ${i}`, next: "/" };
      statuses.push((await browser.visit(portalUrl("/sign-in"), form)).status);
    }
    expect(statuses.slice(0, 10)).toEqual(Array(10).fill(401));
    const last = await browser.visit(portalUrl("/sign-in"), {
      email: "ann@acme.example",
      password: PASSWORD,
      next: "/",
    });
    expect([statuses.at(-1), last.status, last.headers["causeway-error"]]).toEqual([429, 429, "rate-limited"]);
    expect(Number(last.headers["retry-after"])).toBeGreaterThan(0);
  });

  test("guesses from ever new addresses only so often either, in all of their claims", async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 12; i++) {
      const form = { email: `claim-${i}@acme.example`, password: PASSWORD, next: "/" };
      const claim = { "cf-connecting-ip": `6.6.6.${i}`, "causeway-client-address": `6.6.7.${i}` };
      statuses.push((await createBrowser(stack.port).visit(portalUrl("/sign-in"), form, claim)).status);
    }
    expect(statuses).toEqual([...Array<number>(10).fill(401), 429, 429]);
  });

  test.each(["limited@acme.example", "nobody-at-all@acme.example"])(
    "guesses the password of %s 20 times in 15 minutes, from however many addresses",
    async (email) => {
      if (email.startsWith("limited")) await stack.members.ensureMember(memberOf("acme", email));
      const guess = (password: string, as = email) =>
        createBrowser(stack.port).visit(portalUrl("/sign-in"), { email: as, password, next: "/" });
      // As if each came from another address.
      const forgetAddresses = () => sql`delete from portal.rate_limit where key not like 'account:%'`;
      for (let i = 0; i < 20; i++) {
        await forgetAddresses();
        expect((await guess(`guess number ${i}`)).status).toBe(401);
      }
      await forgetAddresses();
      for (const as of [email, email.toUpperCase()]) {
        const answer = await guess(PASSWORD, as);
        expect([answer.status, answer.headers["causeway-error"]]).toEqual([429, "rate-limited"]);
        expect(Number(answer.headers["retry-after"])).toBeGreaterThan(600);
        expect(Number(answer.headers["retry-after"])).toBeLessThanOrEqual(900);
      }
      expect((await guess(PASSWORD, "ann@acme.example")).status).toBe(303);
      await sql`update portal.rate_limit set last_request = last_request - 900000`;
      expect((await guess(PASSWORD)).status).toBe(email.startsWith("limited") ? 303 : 401);
      expect(JSON.stringify(await sql`select key from portal.rate_limit`)).not.toContain(email);
    },
  );

  test("signing in takes back the failed tries before it", async () => {
    const email = "forgetful@acme.example";
    await stack.members.ensureMember(memberOf("acme", email));
    const tryIt = (password: string) =>
      createBrowser(stack.port).visit(portalUrl("/sign-in"), { email, password, next: "/" });
    await tryIt("wrong horse battery");
    expect(await sql`select count from portal.rate_limit where key like 'account:%'`).toEqual([{ count: 1 }]);
    expect((await tryIt(PASSWORD)).status).toBe(303);
    expect(await sql`select count from portal.rate_limit where key like 'account:%'`).toEqual([]);
  });

  test("has no address to sign up at", async () => {
    for (const path of ["/api/auth/sign-up/email", "/sign-up", "/api/auth/get-session", "/api/auth/ok"]) {
      const body = JSON.stringify({ email: "eve@evil.example", password: PASSWORD, name: "Eve" });
      const headers = { "content-type": "application/json", origin: portalUrl().slice(0, -1) };
      const answer = await send(stack.port, { host: `${BASE}:${stack.port}`, path, method: "POST", body, headers });
      expect(answer.status).toBe(404);
    }
    expect(await sql`select 1 from portal.user where email = 'eve@evil.example'`).toHaveLength(0);
  });

  test.each([
    ["forged by another key", async () => (await newKey("session-1")).private],
    ["signed by the real key for another tenant", async () => stack.sessionKey.private],
  ])("a session token %s is none", async (_, keyOf) => {
    const jwk = z.looseObject({ kty: z.literal("OKP"), kid: z.string() }).parse(JSON.parse(await keyOf()));
    const nowSeconds = Math.floor(Date.now() / 1_000);
    const token = await new SignJWT({ sid: "ses_1", accessRevision: 99 })
      .setProtectedHeader({ alg: "EdDSA", kid: jwk.kid })
      .setIssuer("causeway-portal")
      .setAudience(jwk.kid === "session-1" && (await keyOf()) === stack.sessionKey.private ? "ten_globex" : "ten_acme")
      .setSubject("usr_1")
      .setIssuedAt(nowSeconds)
      .setExpirationTime(nowSeconds + 60)
      .sign(await importJWK(jwk, "EdDSA"));
    const headers = { cookie: `causeway=${token}` };
    expect((await send(stack.port, { host: `acme.${BASE}`, path: "/manager", headers })).status).toBe(401);
  });

  test("an unsigned token, or one of another algorithm, is none", async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const nowSeconds = Math.floor(Date.now() / 1_000);
    const claims = {
      iss: "causeway-portal",
      aud: "ten_acme",
      sub: "usr_1",
      sid: "s",
      accessRevision: 9,
      iat: nowSeconds,
      exp: nowSeconds + 60,
    };
    const hmac = await new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", kid: "session-1" })
      .sign(Buffer.from(stack.sessionKey.private));
    for (const token of [`${part({ alg: "none" })}.${part(claims)}.`, hmac, "nonsense"]) {
      const headers = { cookie: `causeway=${token}` };
      expect((await send(stack.port, { host: `acme.${BASE}`, path: "/manager", headers })).status).toBe(401);
    }
  });
});

describe("the one-time code", () => {
  /** The way back to the tenant's host with a code, not yet walked. */
  async function codeUrl(browser: Browser, page: string): Promise<URL> {
    const asked = await browser.follow(page);
    const form = { email: "ann@acme.example", password: PASSWORD, next: hiddenField(asked.answer.body, "next") };
    const posted = await browser.visit(portalUrl("/sign-in"), form);
    const authorized = await browser.visit(new URL(posted.headers.location ?? "", portalUrl()).toString());
    return new URL(authorized.headers.location ?? "");
  }

  test("is stored as a hash and lives a minute", async () => {
    const browser = createBrowser(stack.port);
    const code = (await codeUrl(browser, url("acme", "/manager"))).searchParams.get("code") ?? "";
    const hash = createHash("sha256").update(code).digest("hex");
    const rows = await sql<{ seconds: number; row: string }[]>`
      select extract(epoch from expires_at - now())::float as seconds, t::text as row
      from portal.sign_in_code t where code_hash = ${hash}`;
    expect(rows).toHaveLength(1);
    expect(rows[0]?.seconds).toBeLessThanOrEqual(60);
    expect(rows[0]?.row).not.toContain(code);
  });

  test("works once", async () => {
    const browser = createBrowser(stack.port);
    const back = await codeUrl(browser, url("acme", "/manager"));
    const stateCookies = [...browser.cookies(`acme.${BASE}`)].filter(([name]) => name.startsWith("causeway-state-"));
    expect((await browser.visit(back.toString())).status).toBe(303);
    for (const [name, value] of stateCookies) browser.setCookie(`acme.${BASE}`, name, value);
    expect((await browser.visit(back.toString())).status).toBe(401);
  });

  test("is worthless in another browser, and stays good for its own", async () => {
    const browser = createBrowser(stack.port);
    const back = await codeUrl(browser, url("acme", "/manager"));
    const other = await createBrowser(stack.port).visit(back.toString());
    expect([other.status, other.headers["causeway-error"]]).toEqual([400, "bad-request"]);
    expect(other.body).toContain('href="/.causeway/sign-in"'); // people get a way on
    expect((await browser.visit(back.toString())).status).toBe(303);
  });

  test("is worthless on another host, at another tenant, with another verifier, and after its time (H16, G05)", async () => {
    for (const spoil of ["host", "tenant", "verifier", "time", "membership"] as const) {
      const email = `spoil-${spoil}@acme.example`;
      await stack.members.ensureMember(memberOf("acme", email));
      const browser = createBrowser(stack.port);
      const asked = await browser.follow(url("acme", "/manager"));
      const form = { email, password: PASSWORD, next: hiddenField(asked.answer.body, "next") };
      const posted = await browser.visit(portalUrl("/sign-in"), form);
      const authorized = await browser.visit(new URL(posted.headers.location ?? "", portalUrl()).toString());
      let back = authorized.headers.location ?? "";
      const [name, value] = [...browser.cookies(`acme.${BASE}`)][0] ?? ["", ""];
      if (spoil === "host") {
        back = back.replace(`//acme.`, `//plc--acme.`);
        browser.setCookie(`plc--acme.${BASE}`, name, value);
      }
      if (spoil === "verifier") {
        browser.setCookie(`acme.${BASE}`, name, `${randomBytes(32).toString("base64url")}.${value.split(".")[1]}`);
      }
      // As if the host had been another tenant's when the code was made.
      if (spoil === "tenant") await sql`update portal.sign_in_code set tenant_id = 'ten_before'`;
      if (spoil === "time") await sql`update portal.sign_in_code set expires_at = now() - interval '1 second'`;
      if (spoil === "membership") {
        await sql`delete from portal.member where user_id = (select id from portal.user where email = ${email})`;
      }
      const answer = await browser.visit(back);
      expect([spoil, answer.status, answer.headers["causeway-error"]]).toEqual([spoil, 401, "unauthorized"]);
    }
  });

  test("is not made for a host that is no tenant's, or for a link that is not whole", async () => {
    const browser = createBrowser(stack.port);
    await signIn(browser, url("acme", "/manager"), "ann@acme.example");
    const good = {
      host: `acme.${BASE}`,
      state: "s".repeat(22),
      code_challenge: "c".repeat(43),
      code_challenge_method: "S256",
    };
    const ask = async (over: Record<string, string>) => {
      const answer = await browser.visit(
        portalUrl(`/authorize?${new URLSearchParams({ ...good, ...over }).toString()}`),
      );
      return [answer.status, answer.headers["causeway-error"], answer.headers.location];
    };
    expect((await ask({}))[0]).toBe(303);
    for (const host of ["evil.example", `nobody.${BASE}`, BASE, `relay.${BASE}`]) {
      expect(await ask({ host })).toEqual([404, "unknown-host", undefined]);
    }
    for (const over of [
      { host: `acme.${BASE}:80` },
      { host: `acme.${BASE}/x` },
      { host: "" },
      { state: "short" },
      { state: "x".repeat(200) },
      { code_challenge: "short" },
      { code_challenge_method: "plain" },
    ]) {
      expect(await ask(over)).toEqual([400, "bad-request", undefined]);
    }
  });
});

describe("the portal's forms", () => {
  test.each([
    ["another site", { origin: "http://evil.example" }],
    ["a tenant's host", { origin: `http://acme.${BASE}` }],
    ["an opaque origin", { origin: "null" }],
    ["another site, by fetch metadata", { "sec-fetch-site": "cross-site" }],
    ["a sibling, by fetch metadata", { "sec-fetch-site": "same-site" }],
  ])("refuse %s", async (_, headers) => {
    for (const path of ["/sign-in", "/sign-out"]) {
      const form = { email: "ann@acme.example", password: PASSWORD, next: "/" };
      const answer = await createBrowser(stack.port).visit(portalUrl(path), form, headers);
      expect([answer.status, answer.headers["causeway-error"]]).toEqual([403, "forbidden"]);
      expect(answer.headers["set-cookie"]).toBeUndefined();
    }
  });

  test.each([
    "//evil.example",
    "https://evil.example",
    "/\\evil.example",
    "/authorize?\\x",
    "/sign-out",
    "javascript:1",
  ])("do not go on to %s", async (next) => {
    const form = { email: "ann@acme.example", password: PASSWORD, next };
    const answer = await createBrowser(stack.port).visit(portalUrl("/sign-in"), form);
    expect(answer.status).toBe(400);
    expect(answer.headers.location).toBeUndefined();
  });

  test("lead to a start page with the account's tenants", async () => {
    const browser = createBrowser(stack.port);
    const form = { email: "ann@acme.example", password: PASSWORD, next: "/" };
    const { answer } = await browser.follow(portalUrl("/sign-in"), form);
    expect(answer.status).toBe(200);
    expect(answer.body).toContain("ann@acme.example");
    expect(answer.body).toContain(`href="${url("acme")}"`);
    expect(answer.body).not.toContain("globex");
  });

  test("are pages without a script, in nobody's frame, never cached, with labelled fields", async () => {
    const { answer } = await createBrowser(stack.port).follow(url("acme", "/manager"));
    expect(answer.headers["content-security-policy"]).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(answer.body).toMatch(/^<!doctype html>/i);
    expect(answer.body).not.toContain("<script");
    expect(answer.body).toContain('lang="en"');
    for (const id of ["email", "password"]) {
      expect(answer.body).toContain(`<label for="${id}">`);
      expect(answer.body).toContain(`id="${id}"`);
    }
  });

  test("set cookies that scripts can't read and other sites don't send", async () => {
    const browser = createBrowser(stack.port);
    const asked = await browser.visit(url("acme", "/manager"));
    const form = { email: "ann@acme.example", password: PASSWORD, next: "/" };
    const signedIn = await browser.visit(portalUrl("/sign-in"), form);
    for (const line of [...(asked.headers["set-cookie"] ?? []), ...(signedIn.headers["set-cookie"] ?? [])]) {
      expect(line).toMatch(/; HttpOnly/i);
      expect(line).toMatch(/; SameSite=Lax/i);
      expect(line).toMatch(/; Path=\//i);
      expect(line).not.toMatch(/; Domain=/i);
    }
  });
});

describe("a session ends", () => {
  /** Of a browser with a session at the portal: gets the cookie of the page's host, but does not open the page with it. */
  async function signInUpToPage(browser: Browser, page: string): Promise<void> {
    const asked = await browser.visit(page);
    const authorized = await browser.visit(asked.headers.location ?? "");
    expect((await browser.visit(authorized.headers.location ?? "")).status).toBe(303);
  }

  test("by signing out on the tenant's host, and the portal does not silently bring it back", async () => {
    const browser = createBrowser(stack.port);
    await signIn(browser, url("acme", "/manager"), "ann@acme.example");
    expect((await browser.visit(url("acme", "/.causeway/sign-out"))).body).toContain("Sign out?");
    const hostile = await browser.visit(url("acme", "/.causeway/sign-out"), {}, { origin: "http://evil.example" });
    expect(hostile.status).toBe(403);
    expect(browser.cookies(`acme.${BASE}`).has("causeway")).toBe(true);
    const done = await browser.visit(url("acme", "/.causeway/sign-out"), {});
    expect(done.status).toBe(200);
    expect(browser.cookies(`acme.${BASE}`).has("causeway")).toBe(false);
    const { answer } = await browser.follow(url("acme", "/manager"));
    expect(answer.body).toContain("Password");
  });

  test.each(["the tenant's host", "the portal"])("by signing out at %s also for a copy of its cookie", async (at) => {
    const browser = createBrowser(stack.port);
    const hosts = { [`acme.${BASE}`]: url("acme", "/manager"), [`plc--acme.${BASE}`]: url("plc--acme", "/y") };
    await browser.visit(portalUrl("/sign-in"), { email: "ann@acme.example", password: PASSWORD, next: "/" });
    // The cookies are not shown before the end, or the edge would rightly not ask about them again within a minute.
    for (const page of Object.values(hosts)) await signInUpToPage(browser, page);
    const copies = Object.keys(hosts).map((host) => ({ host, token: browser.cookies(host).get("causeway") ?? "" }));
    const other = createBrowser(stack.port);
    await signIn(other, url("acme", "/manager"), "ann@acme.example");

    const signOut = at === "the portal" ? portalUrl("/sign-out") : url("acme", "/.causeway/sign-out");
    expect((await browser.visit(signOut, {})).status).toBe(200);
    for (const { host, token } of copies) {
      expect(token).not.toBe("");
      const headers = { cookie: `causeway=${token}` };
      expect((await send(stack.port, { host, path: "/manager", headers })).status).toBe(401);
    }
    // The account's other devices stay signed in.
    expect((await other.visit(url("acme", "/manager"))).status).toBe(200);
  });

  test("not for a while without a portal that could tell", async () => {
    const browser = createBrowser(stack.port);
    await browser.visit(portalUrl("/sign-in"), { email: "ann@acme.example", password: PASSWORD, next: "/" });
    await signInUpToPage(browser, url("plc--acme", "/y"));
    await sql`alter table portal.session rename to session_away`;
    try {
      expect((await browser.visit(url("plc--acme", "/y"))).status).toBe(200);
    } finally {
      await sql`alter table portal.session_away rename to session`;
    }
  });

  test("by signing out at the portal", async () => {
    const browser = createBrowser(stack.port);
    await signIn(browser, url("acme", "/manager"), "ann@acme.example");
    expect((await browser.visit(portalUrl("/sign-out"), {})).body).toContain("You are signed out");
    expect(browser.cookies(BASE).size).toBe(0);
    expect((await browser.visit(portalUrl())).body).toContain("Sign in");
  });

  test("for everybody when the access revision rises, for one when notBefore does; within 10 s", async () => {
    const slug = "revoked";
    await stack.publish(record(slug));
    const email = `ann@${slug}.example`;
    const { accountId } = await stack.members.ensureMember(memberOf(slug, email));
    const browser = createBrowser(stack.port);
    const reach = async () => (await browser.visit(url(slug, "/manager"))).status;
    const isEnded = async () => (await reach()) === 303;
    await signIn(browser, url(slug, "/manager"), email);
    expect(await reach()).toBe(200);

    await stack.publish(record(slug, { accessRevision: 1, revision: 2 }));
    await until("the end for everybody", isEnded, { timeoutMs: 10_000, intervalMs: 100 });
    expect((await browser.follow(url(slug, "/manager"))).answer.status).toBe(200);
    expect(await reach()).toBe(200);

    const nowSeconds = Math.floor(Date.now() / 1_000);
    const notBefore = { [accountId]: nowSeconds };
    await stack.publish(record(slug, { accessRevision: 1, revision: 3, notBefore }));
    await until("the end for one", isEnded, { timeoutMs: 10_000, intervalMs: 100 });
    await until("a new one", async () => (await browser.follow(url(slug, "/manager"))).answer.status === 200);
  });
});

describe("members by the console", () => {
  async function failureOf(input: EnsureMemberInput): Promise<string> {
    try {
      await stack.members.ensureMember(input);
      return "none";
    } catch (error) {
      return String(error);
    }
  }

  test("the same call again changes nothing, also at the same time", async () => {
    const input = memberOf("acme", "Twice@Acme.Example");
    const results = await Promise.all([1, 2, 3].map(() => stack.members.ensureMember(input)));
    expect(new Set(results.map(({ accountId }) => accountId)).size).toBe(1);
    expect(results.filter(({ created }) => created)).toHaveLength(1);
    expect(await stack.members.ensureMember(input)).toEqual({ accountId: results[0]?.accountId, created: false });
    expect(await sql`select 1 from portal.user where email = 'twice@acme.example'`).toHaveLength(1);
    expect(await sql`select 1 from portal.member where user_id = ${results[0]?.accountId ?? ""}`).toHaveLength(1);
  });

  test("an account that exists joins another tenant and keeps its password", async () => {
    const email = "both@acme.example";
    await stack.members.ensureMember(memberOf("acme", email));
    const again = await stack.members.ensureMember(memberOf("globex", email, { password: "another password" }));
    expect(again.created).toBe(false);
    expect((await signIn(createBrowser(stack.port), url("globex", "/manager"), email)).answer.status).toBe(200);
    const wrong = await signIn(createBrowser(stack.port), url("globex", "/manager"), email, "another password");
    expect(wrong.answer.status).toBe(401);
  });

  test("a sign-up that fails half-way leaves nothing behind", async () => {
    await sql.unsafe(`
      create function portal.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
      create trigger refuse before insert on portal.account for each row execute function portal.refuse();`);
    try {
      const message = await failureOf(memberOf("acme", "half@acme.example"));
      expect(message).toContain("P0001");
      expect(message).not.toMatch(/half@acme|insert into/);
      expect(await sql`select 1 from portal.user where email = 'half@acme.example'`).toHaveLength(0);
    } finally {
      await sql.unsafe("drop trigger refuse on portal.account; drop function portal.refuse()");
    }
    expect((await stack.members.ensureMember(memberOf("acme", "half@acme.example"))).created).toBe(true);
  });

  test.each([
    ["no address", { email: "nobody" }],
    ["a short password", { password: "short" }],
    ["an empty tenant", { tenantId: "" }],
  ])("input with %s is refused", async (_, over) => {
    expect(await failureOf(memberOf("acme", "x@acme.example", over))).toContain("ZodError");
    expect(await sql`select 1 from portal.user where email = 'x@acme.example'`).toHaveLength(0);
  });

  test("passwords are nowhere in clear, and nothing of a sign-in is in the log", async () => {
    const rows = await sql<{ password: string }[]>`select password from portal.account`;
    for (const { password } of rows) expect(password).toMatch(/^[0-9a-f]{32}:[0-9a-f]{128}$/);
    const log = JSON.stringify(stack.log);
    for (const secret of [PASSWORD, "ann@acme.example", "causeway-state", "eyJ"]) expect(log).not.toContain(secret);
  });
});
