import { decodeJwt } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { RoleName } from "../../src/protocol/portal-rpc.ts";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { until } from "../support/until.ts";
import { createBrowser, hiddenField } from "./edge/browser.ts";
import { parseEcho, startTestNode, type TestNode } from "./edge/origin.ts";
import { BASE, tenantRecord, toService } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// What the real portal says of an account, and what the edge lets it do: roles, and accounts that are no members.
const NODE = "nod_1";
const PASSWORD = "correct horse battery";
let pg: TestPostgres;
let stack: EdgeStack;
let node: TestNode;

beforeAll(async () => {
  pg = await startPostgres();
  const database = await pg.createDatabase();
  stack = await startEdgeStack(pg.url(database, { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal }));
  node = await startTestNode(NODE, stack.proofKey);
});
afterAll(async () => {
  await stack.stop();
  await node.stop();
  await pg.stop();
});

const routes = [
  { ...toService("/app"), access: "sign-up" as const },
  toService("/manager", "member"),
  { ...toService("/private", "member"), roles: { use: "admin" as const } },
];
const recordOf = (slug: string, over = {}) => tenantRecord(slug, { id: NODE, url: node.url }, { routes, ...over });
const url = (slug: string, path: string): string => `http://${slug}.${BASE}:${stack.port}${path}`;
const ensure = (slug: string, email: string, role: RoleName) =>
  stack.members.ensureMember({ tenantId: `ten_${slug}`, slug, cluster: "default", email, password: PASSWORD, role });

async function signIn(browser: ReturnType<typeof createBrowser>, page: string, email: string) {
  const asked = await browser.follow(page);
  const form = { email, password: PASSWORD, next: hiddenField(asked.answer.body, "next") };
  const posted = await browser.visit(`http://${BASE}:${stack.port}/sign-in`, form);
  return (await browser.follow(new URL(posted.headers.location ?? "/", `http://${BASE}:${stack.port}`).toString()))
    .answer;
}

test("an account that is no member gets in where everybody with one does, and nowhere else (H16)", async () => {
  await stack.publish(recordOf("acme"));
  await stack.publish(recordOf("closed", { routes: [toService("/manager", "member")] }));
  await ensure("globex", "gus@globex.example", "owner");
  const browser = createBrowser(stack.port);
  const asked = await signIn(browser, url("acme", "/app"), "gus@globex.example");
  const field = (name: string) => hiddenField(asked.body, name);
  const consent = { account: field("account"), tenant: field("tenant"), next: field("next"), answer: "allow" };
  const landed = (await browser.follow(`http://${BASE}:${stack.port}/consent`, consent)).answer;
  expect(landed.status).toBe(200);
  const { headers } = parseEcho(landed.body);
  expect([headers["causeway-email"], headers["causeway-role"]]).toEqual(["gus@globex.example", undefined]);
  expect(decodeJwt(browser.cookies(`acme.${BASE}`).get("causeway") ?? "")).toMatchObject({ role: null });
  const refused = await browser.visit(url("acme", "/manager"));
  expect([refused.status, refused.headers["causeway-error"]]).toEqual([403, "forbidden"]);
  // A tenant without such a route gives a stranger no session at all.
  expect((await browser.follow(url("closed", "/manager"))).answer.status).toBe(403);
  expect(browser.cookies(`closed.${BASE}`).has("causeway")).toBe(false);

  // Once invited, a new session says so.
  await ensure("acme", "gus@globex.example", "member");
  const again = await browser.follow(url("acme", "/.causeway/sign-in?next=%2Fmanager"));
  expect([again.answer.status, parseEcho(again.answer.body).headers["causeway-role"]]).toEqual([200, "member"]);
});

test("a role is the portal's word at the sign-in; a changed one holds once the session was ended", async () => {
  await stack.publish(recordOf("initech"));
  const { accountId } = await ensure("initech", "ann@initech.example", "viewer");
  const browser = createBrowser(stack.port);
  const landed = await signIn(browser, url("initech", "/manager"), "ann@initech.example");
  expect(parseEcho(landed.body).headers["causeway-role"]).toBe("viewer");
  expect((await browser.visit(url("initech", "/private"))).status).toBe(403);

  expect(await stack.members.setRole("ten_initech", accountId, "admin")).toBe("done");
  const notBefore = { [accountId]: Math.floor(Date.now() / 1_000) };
  await stack.publish(recordOf("initech", { notBefore, revision: 2 }));
  await until(
    "the new role",
    async () => {
      const { answer } = await browser.follow(url("initech", "/private"));
      return answer.status === 200 && parseEcho(answer.body).headers["causeway-role"] === "admin";
    },
    { timeoutMs: 10_000, intervalMs: 250 },
  );
});
