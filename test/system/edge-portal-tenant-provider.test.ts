import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { RoleName } from "../../src/protocol/portal-rpc.ts";
import { newId } from "../../src/shared/ids.ts";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { createBrowser } from "./edge/browser.ts";
import { startOidc, type OidcStack } from "./edge/oidc.ts";
import { startTestNode, type TestNode } from "./edge/origin.ts";
import { BASE, tenantRecord, toService } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// A tenant that wants its members to prove themselves at its own OpenID provider: a real one (oidc-provider) on loopback.
const PASSWORD = "correct horse battery";
const ACME = { tenantId: newId("ten"), slug: "acme", cluster: "default" };
const GLOBEX = { tenantId: newId("ten"), slug: "globex", cluster: "default" };
let pg: TestPostgres;
let sql: postgres.Sql;
let stack: EdgeStack;
let node: TestNode;
let oidc: OidcStack;

const portalUrl = (path = "/"): string => `http://${BASE}:${stack.port}${path}`;
const pageOf = (slug: string): string => `http://${slug}.${BASE}:${stack.port}/manager/x`;
type Browser = ReturnType<typeof createBrowser>;

beforeAll(async () => {
  pg = await startPostgres();
  oidc = await startOidc(() => portalUrl("/sign-in/tenant-provider"));
  const database = await pg.createDatabase();
  stack = await startEdgeStack(pg.url(database, { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal }));
  sql = postgres(pg.url(database), { max: 2, onnotice: () => {} });
  node = await startTestNode("nod_1", stack.proofKey);
  const routes = [toService("/manager", "member")];
  for (const { slug, tenantId } of [ACME, GLOBEX]) {
    await stack.publish(tenantRecord(slug, { id: "nod_1", url: node.url }, { routes, tenantId }));
  }
});
afterAll(async () => {
  await stack?.stop();
  await node?.stop();
  await oidc?.stop();
  await sql?.end();
  await pg?.stop();
});
beforeEach(async () => {
  await sql`delete from portal.rate_limit`;
});

async function signedIn(email: string, role: RoleName, tenants: readonly (typeof ACME)[] = [ACME]): Promise<Browser> {
  for (const tenant of tenants) await stack.members.ensureMember({ ...tenant, email, password: PASSWORD, role });
  const browser = createBrowser(stack.port);
  await browser.visit(portalUrl("/sign-in"), { email, password: PASSWORD, next: "/" });
  return browser;
}
const settingsUrl = () => portalUrl(`/tenants/${ACME.tenantId}/sign-in`);
const form = (over: Record<string, string> = {}) => {
  const { issuer, clientId, clientSecret } = oidc;
  return { name: "Acme ID", issuer, clientId, clientSecret, ...over };
};
async function require(): Promise<void> {
  const owner = await signedIn("owner@acme.example", "owner");
  expect((await owner.visit(settingsUrl(), form())).status).toBe(303);
}
/** Asks for a page of acme and answers where the portal sends the browser. */
async function sentTo(browser: Browser, slug = "acme"): Promise<string> {
  const asked = await browser.visit(pageOf(slug));
  return (await browser.visit(asked.headers.location ?? "")).headers.location ?? "";
}

test("members get in with a proof of their own address there, and not without", async () => {
  await require();
  const browser = await signedIn("ann@acme.example", "member", [ACME, GLOBEX]);
  oidc.people.set("ann", { email: "Ann@acme.example", isVerified: true });
  const asked = new URL(await sentTo(browser));
  expect(asked.origin).toBe(oidc.issuer);
  expect(asked.searchParams.get("code_challenge_method")).toBe("S256");
  expect(asked.searchParams.get("login_hint")).toBe("ann@acme.example");
  const back = await oidc.signIn(asked.toString(), "ann");
  const { answer } = await browser.follow(back);
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.body)).toMatchObject({ path: "/manager/x" });
  // Used up; and no other tenant is concerned.
  expect((await browser.visit(back)).status).toBe(403);
  expect((await browser.follow(pageOf("globex"))).answer.status).toBe(200);
  // Another sign-in of the same person has proven nothing.
  expect(await sentTo(await signedIn("ann@acme.example", "member"))).toContain(oidc.issuer);
});

test.each([
  ["of another address", "mallory", { email: "mallory@acme.example", isVerified: true }],
  ["of an address that the provider has not verified", "unverified", { email: "bob@acme.example", isVerified: false }],
])("a proof %s is none", async (_, name, who) => {
  await require();
  oidc.people.set(name, who);
  const browser = await signedIn("bob@acme.example", "member");
  const back = await oidc.signIn(await sentTo(browser), name);
  expect((await browser.visit(back)).status).toBe(403);
  expect(await sentTo(browser)).toContain(oidc.issuer);
});

test("a proof on its way is good in its own browser alone", async () => {
  await require();
  oidc.people.set("cat", { email: "cat@acme.example", isVerified: true });
  const victim = await signedIn("cat@acme.example", "member");
  const back = await oidc.signIn(await sentTo(victim), "cat");
  const other = await signedIn("cat@acme.example", "member");
  expect((await other.visit(back)).status).toBe(403);
  expect(await sentTo(other)).toContain(oidc.issuer);
});

test("owners alone set it; its secret is nowhere in clear; without it all is as before", async () => {
  await require();
  const admin = await signedIn("admin@acme.example", "admin");
  expect((await admin.visit(settingsUrl())).status).toBe(403);
  expect((await admin.visit(settingsUrl(), form())).status).toBe(403);
  expect((await admin.visit(`${settingsUrl()}/remove`, {})).status).toBe(403);
  const owner = await signedIn("owner@acme.example", "owner");
  expect((await owner.visit(settingsUrl())).body).not.toContain(oidc.clientSecret);
  const rows = JSON.stringify(await sql`select * from portal.organization`) + JSON.stringify(stack.log);
  expect(rows).not.toContain(oidc.clientSecret);
  for (const issuer of ["http://elsewhere.example", "javascript:1", "https://u:p@id.example"]) {
    expect((await owner.visit(settingsUrl(), form({ issuer }))).status).toBe(400);
  }
  expect((await owner.visit(settingsUrl(), form({ issuer: "http://127.0.0.1:1" }))).status).toBe(303);
  const member = await signedIn("dan@acme.example", "member");
  const asked = await member.visit(pageOf("acme"));
  expect((await member.visit(asked.headers.location ?? "")).status).toBe(503);
  expect((await owner.visit(`${settingsUrl()}/remove`, {})).status).toBe(303);
  expect((await member.follow(pageOf("acme"))).answer.status).toBe(200);
});
