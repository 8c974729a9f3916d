import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newId } from "../../src/shared/ids.ts";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { until } from "../support/until.ts";
import { createBrowser, hiddenField, type Answer } from "./edge/browser.ts";
import { parseEcho, startTestNode, type TestNode } from "./edge/origin.ts";
import { BASE, tenantRecord, toService } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// Tenants that take every account: nobody becomes known to one without having agreed. The real edge, portal and PostgreSQL.
const NODE = "nod_1";
const PASSWORD = "correct horse battery";
let pg: TestPostgres;
let sql: postgres.Sql;
let stack: EdgeStack;
let node: TestNode;

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

const portalUrl = (path = "/"): string => `http://${BASE}:${stack.port}${path}`;
const absolute = (path: string | undefined): string => new URL(path ?? "", portalUrl()).toString();
type Browser = ReturnType<typeof createBrowser>;

interface Tenant {
  readonly tenantId: string;
  readonly slug: string;
  readonly cluster: string;
}
const url = ({ slug }: Tenant, path = "/app"): string => `http://${slug}.${BASE}:${stack.port}${path}`;

let made = 0;
const HOME: Tenant = { tenantId: newId("ten"), slug: "home", cluster: "default" };
const SIGN_UP = [{ ...toService("/app"), access: "sign-up" as const }, toService("/open")];

async function newTenant(routes = SIGN_UP): Promise<Tenant> {
  const tenant = { tenantId: newId("ten"), slug: `tenant-${++made}`, cluster: "default" };
  const { tenantId } = tenant;
  await stack.publish(tenantRecord(tenant.slug, { id: NODE, url: node.url }, { routes, tenantId }));
  return tenant;
}

interface Person {
  readonly email: string;
  readonly accountId: string;
  readonly browser: Browser;
}
async function signIn(email: string): Promise<Browser> {
  const browser = createBrowser(stack.port);
  await sql`delete from portal.rate_limit`;
  const { status } = await browser.visit(portalUrl("/sign-in"), { email, password: PASSWORD, next: "/" });
  expect(status).toBe(303);
  return browser;
}
/** Somebody with an account, signed in at the portal; a member of another tenant than those that ask. */
async function newPerson(): Promise<Person> {
  const email = `person-${++made}@example.com`;
  const { accountId } = await stack.members.ensureMember({ ...HOME, email, password: PASSWORD, role: "member" });
  return { email, accountId, browser: await signIn(email) };
}

const isAsked = ({ status, body }: Answer): boolean => status === 200 && body.includes('action="/consent"');
const formOf = ({ body }: Answer, answer = "allow") => ({
  account: hiddenField(body, "account"),
  tenant: hiddenField(body, "tenant"),
  next: hiddenField(body, "next"),
  answer,
});
/** Opens the tenant's page, which leads to the portal's question. */
async function ask(browser: Browser, tenant: Tenant): Promise<Answer> {
  const { answer } = await browser.follow(url(tenant));
  expect(isAsked(answer)).toBe(true);
  return answer;
}
async function allow(browser: Browser, tenant: Tenant): Promise<Answer> {
  const posted = await browser.visit(portalUrl("/consent"), formOf(await ask(browser, tenant)));
  expect(posted.status).toBe(303);
  return (await browser.follow(absolute(posted.headers.location))).answer;
}
const hasSession = (browser: Browser, { slug }: Tenant): boolean => browser.cookies(`${slug}.${BASE}`).has("causeway");
const noted = async ({ accountId }: Person) =>
  (await sql<{ tenant_id: string }[]>`select tenant_id from portal.consent where user_id = ${accountId}`).map(
    (row) => row.tenant_id,
  );
const codesOf = async ({ accountId }: Person) =>
  (await sql`select 1 from portal.sign_in_code where user_id = ${accountId}`).length;

describe("a tenant that somebody is no member of", () => {
  test("learns nothing before they agree; then they are not asked again, in whatever browser", async () => {
    const tenant = await newTenant();
    const person = await newPerson();
    const { browser, email } = person;
    const question = await ask(browser, tenant);
    for (const shown of [tenant.slug, `${tenant.slug}.${BASE}`, email]) expect(question.body).toContain(shown);
    expect([await codesOf(person), await noted(person), hasSession(browser, tenant)]).toEqual([0, [], false]);

    const landed = await allow(browser, tenant);
    expect(parseEcho(landed.body).headers["causeway-email"]).toBe(email);
    expect(await noted(person)).toEqual([tenant.tenantId]);
    const elsewhere = await browser.follow(url(tenant, "/.causeway/sign-in?next=%2Fapp"));
    expect(parseEcho(elsewhere.answer.body).headers["causeway-email"]).toBe(email);
    const second = await (await signIn(email)).follow(url(tenant));
    expect(parseEcho(second.answer.body).headers["causeway-email"]).toBe(email);
    // Each tenant asks for itself.
    await ask(browser, await newTenant());
  });

  test("is told nothing by `not now`, which ends at a page and not in a circle", async () => {
    const tenant = await newTenant();
    const person = await newPerson();
    const { browser } = person;
    const refused = await browser.visit(portalUrl("/consent"), formOf(await ask(browser, tenant), "not-now"));
    expect([refused.status, refused.headers.location]).toEqual([200, undefined]);
    expect([await codesOf(person), await noted(person), hasSession(browser, tenant)]).toEqual([0, [], false]);
    expect((await browser.visit(url(tenant, "/open"))).status).toBe(200);
    // The links lead back, to be asked again.
    const links = [...refused.body.matchAll(/href="([^"]*)"/g)].map(([, link = ""]) => link.replaceAll("&amp;", "&"));
    expect(links.map((link) => new URL(link, portalUrl()).host)).toEqual([
      new URL(portalUrl()).host,
      new URL(url(tenant)).host,
      new URL(portalUrl()).host,
    ]);
    for (const link of links.slice(0, 2)) expect(isAsked((await browser.follow(absolute(link))).answer)).toBe(true);
    const started = formOf((await browser.follow(absolute(links[0]))).answer);
    const posted = await browser.visit(portalUrl("/consent"), started);
    expect((await browser.follow(absolute(posted.headers.location))).answer.status).toBe(200);
  });

  test("does not ask members, nor anybody where it takes members alone", async () => {
    const [open, closed] = [await newTenant(), await newTenant([toService("/app", "member")])];
    const { browser, email, accountId } = await newPerson();
    await stack.members.ensureMember({ ...open, email, password: PASSWORD, role: "viewer" });
    expect(parseEcho((await browser.follow(url(open))).answer.body).headers["causeway-account"]).toBe(accountId);
    expect((await browser.follow(url(closed))).answer.status).toBe(403);
    expect(await sql`select 1 from portal.consent where user_id = ${accountId}`).toHaveLength(0);
  });

  test("goes with all that was agreed", async () => {
    const tenant = await newTenant();
    const person = await newPerson();
    await allow(person.browser, tenant);
    await stack.members.removeTenant(tenant.tenantId);
    expect(await noted(person)).toEqual([]);
  });
});

describe("an answer", () => {
  test.each<[string, Record<string, string>]>([
    ["another site's", { origin: "https://evil.example" }],
    ["a tenant's own", { origin: `http://tenant-1.${BASE}` }],
    ["a sibling's, by what browsers say of it", { "sec-fetch-site": "same-site" }],
    ["nobody's", { origin: "null" }],
  ])("from %s page is refused", async (_, headers) => {
    const tenant = await newTenant();
    const person = await newPerson();
    const form = formOf(await ask(person.browser, tenant));
    const answer = await person.browser.visit(portalUrl("/consent"), form, headers);
    expect([answer.status, answer.headers["causeway-error"]]).toEqual([403, "forbidden"]);
    const forgotten = await person.browser.visit(portalUrl("/account/forget-tenant"), form, headers);
    expect([forgotten.status, await noted(person)]).toEqual([403, []]);
  });

  test("counts for the account and the tenant that the page showed, and for nothing else", async () => {
    const [tenant, other, closed] = [
      await newTenant(),
      await newTenant(),
      await newTenant([toService("/app", "member")]),
    ];
    const [person, mallory] = [await newPerson(), await newPerson()];
    const form = formOf(await ask(person.browser, tenant));
    const theirs = formOf(await ask(mallory.browser, tenant));
    const otherNext = formOf(await ask(person.browser, other)).next;
    const closedNext = form.next.replace(tenant.slug, closed.slug);
    for (const sent of [
      theirs,
      { ...form, tenant: other.tenantId },
      { ...form, next: otherNext },
      { ...form, tenant: closed.tenantId, next: closedNext },
    ]) {
      const answer = await person.browser.visit(portalUrl("/consent"), sent);
      expect([answer.status, answer.headers.location?.startsWith("/authorize?")]).toEqual([303, true]);
    }
    for (const next of ["https://evil.example/authorize?", "/authorize?host=evil", "//evil.example", "/account"]) {
      expect((await person.browser.visit(portalUrl("/consent"), { ...form, next })).status).toBe(400);
    }
    const unknown = { ...form, next: form.next.replace(tenant.slug, "nobody-has-this") };
    const landed = await person.browser.follow(portalUrl("/consent"), unknown);
    expect(landed.answer.status).toBe(404);
    expect((await person.browser.visit(portalUrl("/consent"))).status).toBe(404);
    expect([await noted(person), await noted(mallory)]).toEqual([[], []]);
    // Without a session the way leads to the sign-in, and nothing is noted.
    const signedOut = await createBrowser(stack.port).follow(portalUrl("/consent"), form);
    expect([signedOut.answer.body.includes('name="password"'), await noted(person)]).toEqual([true, []]);
  });

  test("may come twice; the code that follows is good once", async () => {
    const tenant = await newTenant();
    const person = await newPerson();
    const { browser } = person;
    const form = formOf(await ask(browser, tenant));
    const both = await Promise.all([1, 2].map(() => browser.visit(portalUrl("/consent"), form)));
    expect(both.map(({ status }) => status)).toEqual([303, 303]);
    expect(await noted(person)).toEqual([tenant.tenantId]);
    const callback = (await browser.visit(absolute(form.next))).headers.location ?? "";
    const stateCookies = [...browser.cookies(`${tenant.slug}.${BASE}`)];
    expect((await browser.follow(callback)).answer.status).toBe(200);
    // With the very cookies of the sign-in, too.
    const thief = createBrowser(stack.port);
    for (const [name, value] of stateCookies) thief.setCookie(`${tenant.slug}.${BASE}`, name, value);
    const again = await thief.visit(callback);
    expect([again.status, again.headers["causeway-error"]]).toEqual([401, "unauthorized"]);
  });
});

describe("forgetting", () => {
  const forget = (browser: Browser, { tenantId }: Tenant) =>
    browser.visit(portalUrl("/account/forget-tenant"), { tenant: tenantId });

  test("ends sessions there within 10 s, and they ask again; other tenants sign in by themselves", async () => {
    const [tenant, other] = [await newTenant(), await newTenant()];
    const person = await newPerson();
    const { browser } = person;
    const before = await browser.visit(portalUrl("/account"));
    expect(before.body).not.toContain("Tenants that know you");
    for (const each of [tenant, other]) expect((await allow(browser, each)).status).toBe(200);
    const account = await browser.visit(portalUrl("/account"));
    for (const each of [tenant, other]) expect(account.body).toContain(`Forget me: ${each.slug}"`);

    const forgotten = await forget(browser, tenant);
    expect([forgotten.status, forgotten.headers.location]).toEqual([303, "/account?done=forgotten"]);
    expect(await noted(person)).toEqual([other.tenantId]);
    const left = await browser.visit(portalUrl("/account?done=forgotten"));
    expect([left.status, left.body.includes(`Forget me: ${tenant.slug}"`)]).toEqual([200, false]);
    const ended = (each: Tenant) => async () => (await browser.visit(url(each))).status === 303;
    await until("the session there to end", ended(tenant), { timeoutMs: 10_000, intervalMs: 200 });
    await ask(browser, tenant);
    await until("a new session at the other", ended(other), { timeoutMs: 10_000, intervalMs: 200 });
    expect((await browser.follow(url(other))).answer.status).toBe(200);
  });

  test.each<[string, (person: Person, tenant: Tenant) => Promise<unknown>]>([
    ["by the account page", ({ browser }, tenant) => forget(browser, tenant)],
    // As where a code was made at the very moment.
    ["with the session as it was", ({ accountId }) => sql`delete from portal.consent where user_id = ${accountId}`],
  ])("makes a code under way worthless, %s", async (_, takeBack) => {
    const tenant = await newTenant();
    const person = await newPerson();
    const { browser } = person;
    await allow(browser, tenant);
    const sent = await browser.visit(url(tenant, "/.causeway/sign-in?next=%2Fapp"));
    const callback = (await browser.visit(sent.headers.location ?? "")).headers.location ?? "";
    expect(callback).toContain("/.causeway/callback?code=");
    await takeBack(person, tenant);
    expect((await browser.visit(callback)).status).toBe(401);
  });

  test("is everybody's own matter, and safe to repeat, also at once", async () => {
    const tenant = await newTenant();
    const [person, mallory] = [await newPerson(), await newPerson()];
    await allow(person.browser, tenant);
    expect((await forget(mallory.browser, tenant)).status).toBe(303);
    expect((await forget(createBrowser(stack.port), tenant)).headers.location).toBe("/sign-in?next=/account");
    expect(await noted(person)).toEqual([tenant.tenantId]);
    const all = await Promise.all([1, 2, 3].map(() => forget(person.browser, tenant)));
    expect([all.map(({ status }) => status), await noted(person)]).toEqual([[303, 303, 303], []]);
    expect((await person.browser.visit(portalUrl("/account"))).status).toBe(200);
  });
});
