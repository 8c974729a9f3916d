import { decodeJwt, importJWK, SignJWT } from "jose";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { SESSION_IDLE_SECONDS, SESSION_LIFETIME_SECONDS, sessionClaims } from "../../src/protocol/portal-rpc.ts";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { createBrowser, hiddenField, send } from "./edge/browser.ts";
import { startTestNode, type TestNode } from "./edge/origin.ts";
import { BASE, tenantRecord, toService } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// How long sessions on tenants' hosts live, and that what is open ends with them.
const NODE = "nod_1";
const PASSWORD = "correct horse battery";
/** The bound for every revocation. */
const BOUND_MS = 10_000;
let pg: TestPostgres;
let sql: postgres.Sql;
let stack: EdgeStack;
let node: TestNode;

const routes = [toService("/app"), toService("/manager", "member")];
const record = (slug: string, over = {}) => tenantRecord(slug, { id: NODE, url: node.url }, { routes, ...over });
const url = (slug: string, path = "/"): string => `http://${slug}.${BASE}:${stack.port}${path}`;
const portalUrl = (path = "/"): string => `http://${BASE}:${stack.port}${path}`;

beforeAll(async () => {
  pg = await startPostgres();
  const database = await pg.createDatabase();
  stack = await startEdgeStack(pg.url(database, { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal }));
  sql = postgres(pg.url(database), { max: 2, onnotice: () => {} });
  node = await startTestNode(NODE, stack.proofKey);
});
afterAll(async () => {
  await stack?.stop();
  await node?.stop();
  await sql?.end();
  await pg?.stop();
});

type Browser = ReturnType<typeof createBrowser>;
interface Person {
  readonly browser: Browser;
  readonly accountId: string;
  readonly slug: string;
  /** The session cookie's value on the tenant's host. */
  readonly token: () => string;
}

/** A tenant of its own, with one member, who is signed in there. */
async function signedIn(slug: string): Promise<Person> {
  await stack.publish(record(slug));
  const email = `ann@${slug}.example`;
  const tenant = { tenantId: `ten_${slug}`, slug, cluster: "default" };
  const { accountId } = await stack.members.ensureMember({ ...tenant, email, password: PASSWORD, role: "member" });
  const browser = createBrowser(stack.port);
  const asked = await browser.follow(url(slug, "/manager"));
  // All sign in from the one address that they have.
  await sql`delete from portal.rate_limit`;
  await browser.follow(portalUrl("/sign-in"), {
    email,
    password: PASSWORD,
    next: hiddenField(asked.answer.body, "next"),
  });
  return { browser, accountId, slug, token: () => browser.cookies(`${slug}.${BASE}`).get("causeway") ?? "" };
}

async function open({ slug, token }: Person): Promise<WebSocket> {
  const host = `${slug}.${BASE}:${stack.port}`;
  const headers = { host, cookie: `causeway=${token()}` };
  const socket = new WebSocket(`ws://127.0.0.1:${stack.port}/manager/ws`, ["rpc.v1"], { headers });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return socket;
}

/** What it ended with and how long that took, in milliseconds. */
async function ending(socket: WebSocket): Promise<{ code: number; reason: string; ms: number }> {
  const fromMs = Date.now();
  return await new Promise((resolve) => {
    socket.once("close", (code, reason) => resolve({ code, reason: reason.toString(), ms: Date.now() - fromMs }));
  });
}

async function echoed(socket: WebSocket, data: string | Buffer): Promise<{ data: string; isBinary: boolean }> {
  const answer = new Promise<{ data: string; isBinary: boolean }>((resolve) => {
    socket.once("message", (said: Buffer, isBinary) => resolve({ data: said.toString(), isBinary }));
  });
  socket.send(data);
  return await answer;
}

describe("an open WebSocket of a protected route", () => {
  test("carries text, binary, subprotocol and close code", async () => {
    const socket = await open(await signedIn("talks"));
    expect(socket.protocol).toBe("rpc.v1");
    expect(await echoed(socket, "text ü")).toEqual({ data: "text ü", isBinary: false });
    expect(await echoed(socket, Buffer.from("binary"))).toEqual({ data: "binary", isBinary: true });
    const big = "x".repeat(500_000);
    expect((await echoed(socket, big)).data).toBe(big);
    const closed = ending(socket);
    socket.close(4_002, "enough");
    expect(await closed).toMatchObject({ code: 4_002, reason: "enough" });
  });

  test("closed by the service closes with its code", async () => {
    const person = await signedIn("closes");
    const host = `closes.${BASE}:${stack.port}`;
    const headers = { host, cookie: `causeway=${person.token()}` };
    const socket = new WebSocket(`ws://127.0.0.1:${stack.port}/manager/ws?close=1`, { headers });
    expect(await ending(socket)).toMatchObject({ code: 4_001, reason: "as asked" });
  });

  test("ends within 10 s of a sign-out, a revocation, a suspension, a stricter route and a deletion; others' stay", async () => {
    const slugs = ["stays", "signs-out", "revoked-all", "revoked-one", "suspended", "rerouted", "deleted"] as const;
    const people = Object.fromEntries(
      await Promise.all(slugs.map(async (slug) => [slug, await signedIn(slug)] as const)),
    );
    const person = (slug: (typeof slugs)[number]): Person => people[slug] ?? expect.unreachable(slug);
    const sockets = await Promise.all(slugs.map((slug) => open(person(slug))));
    const ends = sockets.map(ending);
    const nowSeconds = Math.floor(Date.now() / 1_000);
    await person("signs-out").browser.visit(portalUrl("/sign-out"), {});
    await stack.publish(record("revoked-all", { accessRevision: 1, revision: 2 }));
    const notBefore = { [person("revoked-one").accountId]: nowSeconds };
    await stack.publish(record("revoked-one", { notBefore, revision: 2 }));
    await stack.publish(record("suspended", { state: "suspended", revision: 2 }));
    await stack.publish(record("rerouted", { routes: [toService("/app")], revision: 2 }));
    const directory = await stack.directoryOf(`deleted.${BASE}`);
    await directory.withdraw(`deleted.${BASE}`, "ten_deleted", 2);

    const [, ...ended] = ends;
    const results = await Promise.all(ended);
    expect(results.map(({ code, reason }) => [code, reason])).toEqual([
      [1_008, "unauthorized"],
      [1_008, "unauthorized"],
      [1_008, "unauthorized"],
      [1_008, "tenant-suspended"],
      [1_008, "no-route"],
      [1_008, "unknown-host"],
    ]);
    for (const { ms } of results) expect(ms).toBeLessThan(BOUND_MS);
    const stayed = sockets[0] ?? expect.unreachable();
    expect(await echoed(stayed, "still here")).toMatchObject({ data: "still here" });
    stayed.close();
    // The cookie of who signed out at the portal is worthless here by now, a copy of it too.
    const headers = { cookie: `causeway=${person("signs-out").token()}` };
    expect((await send(stack.port, { host: `signs-out.${BASE}`, path: "/manager", headers })).status).toBe(401);
  });

  test("goes on while the directory is away", async () => {
    const socket = await open(await signedIn("outage"));
    await stack.setDirectoryDown(true);
    try {
      const first = Date.now();
      while (Date.now() - first < 5_000) {
        expect((await echoed(socket, "on")).data).toBe("on");
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    } finally {
      await stack.setDirectoryDown(false);
    }
    socket.close();
  });
});

describe("a session's token", () => {
  const nowSeconds = (): number => Math.floor(Date.now() / 1_000);

  /** As the portal would have signed it earlier. */
  async function aged(person: Person, ages: { begunSecondsAgo: number; leftSeconds: number }): Promise<string> {
    const claims = sessionClaims.parse(decodeJwt(person.token()));
    const jwk = z.looseObject({ kty: z.literal("OKP"), kid: z.string() }).parse(JSON.parse(stack.sessionKey.private));
    return await new SignJWT({ ...claims })
      .setProtectedHeader({ alg: "EdDSA", kid: jwk.kid })
      .setIssuedAt(nowSeconds() - ages.begunSecondsAgo)
      .setExpirationTime(nowSeconds() + ages.leftSeconds)
      .sign(await importJWK(jwk, "EdDSA"));
  }
  async function visit(person: Person, token: string) {
    const headers = { cookie: `causeway=${token}` };
    const answer = await send(stack.port, { host: `${person.slug}.${BASE}`, path: "/manager", headers });
    const [cookie] = answer.headers["set-cookie"] ?? [];
    return { status: answer.status, cookie, token: /^causeway=([^;]+)/.exec(cookie ?? "")?.[1] ?? null };
  }

  test("runs out when nobody uses it, and is renewed when it is, with the same beginning", async () => {
    const person = await signedIn("renewed");
    const fresh = decodeJwt(person.token());
    expect((fresh.exp ?? 0) - (fresh.iat ?? 0)).toBe(SESSION_IDLE_SECONDS);
    expect((await visit(person, person.token())).cookie).toBeUndefined();

    const old = await aged(person, { begunSecondsAgo: 5_000, leftSeconds: 60 });
    const renewed = await visit(person, old);
    expect(renewed.status).toBe(200);
    expect(renewed.cookie).toMatch(/; Path=\/; Max-Age=7200; HttpOnly; SameSite=Lax$/);
    const claims = decodeJwt(renewed.token ?? "");
    expect(claims).toMatchObject({ ...decodeJwt(old), exp: claims.exp });
    expect((claims.exp ?? 0) - nowSeconds()).toBeGreaterThan(SESSION_IDLE_SECONDS - 10);
    expect((await visit(person, renewed.token ?? "")).status).toBe(200);
    expect((await visit(person, await aged(person, { begunSecondsAgo: 7_300, leftSeconds: -1 }))).status).toBe(401);
  });

  test("is never renewed beyond the session's absolute end", async () => {
    const person = await signedIn("absolute");
    const begunSecondsAgo = SESSION_LIFETIME_SECONDS - 600;
    const renewed = await visit(person, await aged(person, { begunSecondsAgo, leftSeconds: 60 }));
    expect((decodeJwt(renewed.token ?? "").exp ?? 0) - nowSeconds()).toBeLessThanOrEqual(600);
    const last = await visit(person, await aged(person, { begunSecondsAgo, leftSeconds: 600 }));
    expect([last.status, last.cookie]).toEqual([200, undefined]);
  });

  test("is not renewed for whoever is no member any more", async () => {
    const person = await signedIn("expelled");
    await sql`delete from portal.member where user_id = ${person.accountId}`;
    const old = await visit(person, await aged(person, { begunSecondsAgo: 5_000, leftSeconds: 60 }));
    expect([old.status, old.cookie]).toEqual([200, undefined]);
  });

  test("that is renewed does not escape a revocation", async () => {
    const person = await signedIn("escapes");
    const renewed = await visit(person, await aged(person, { begunSecondsAgo: 5_000, leftSeconds: 60 }));
    const notBefore = { [person.accountId]: nowSeconds() - 4_000 };
    await stack.publish(record("escapes", { notBefore, revision: 2 }));
    await expect
      .poll(async () => (await visit(person, renewed.token ?? "")).status, { timeout: BOUND_MS, interval: 200 })
      .toBe(401);
  });
});
