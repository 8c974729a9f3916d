import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { RoleName } from "../../src/protocol/portal-rpc.ts";
import { newId } from "../../src/shared/ids.ts";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { createBrowser } from "./edge/browser.ts";
import { startMailbox, type Mailbox } from "./edge/mailbox.ts";
import { BASE } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// Members and own tenants at the portal: who may do what. The console is a stand-in; on the whole stack: test/browser/journey.test.ts.
const PASSWORD = "correct horse battery";
const TENANT = { tenantId: newId("ten"), slug: "acme", cluster: "default" };
/** The stand-in can't end sessions of this one. */
const STUCK = { tenantId: `ten_${"0".repeat(20)}`, slug: "stuck", cluster: "default" };
let pg: TestPostgres;
let sql: postgres.Sql;
let stack: EdgeStack;
let mailbox: Mailbox;

beforeAll(async () => {
  pg = await startPostgres();
  mailbox = await startMailbox();
  const database = await pg.createDatabase();
  const url = pg.url(database, { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal });
  const mail = { kind: "http", url: mailbox.url, from: "no-reply@c.example" };
  const vars = { MAIL: JSON.stringify(mail), MAIL_KEY: "key", SIGN_UP: "open", TENANTS_PER_ACCOUNT: "1" };
  stack = await startEdgeStack(url, {}, vars);
  sql = postgres(pg.url(database), { max: 2, onnotice: () => {} });
});
afterAll(async () => {
  await stack?.stop();
  await mailbox?.stop();
  await sql?.end();
  await pg?.stop();
});
beforeEach(async () => {
  await sql`delete from portal.rate_limit`;
});

const portalUrl = (path = "/"): string => `http://${BASE}:${stack.port}${path}`;
type Browser = ReturnType<typeof createBrowser>;
interface Person {
  readonly browser: Browser;
  readonly accountId: string;
}

async function person(email: string, role: RoleName, tenant = TENANT): Promise<Person> {
  const { accountId } = await stack.members.ensureMember({ ...tenant, email, password: PASSWORD, role });
  const browser = createBrowser(stack.port);
  await sql`delete from portal.rate_limit`;
  await browser.visit(portalUrl("/sign-in"), { email, password: PASSWORD, next: "/" });
  return { browser, accountId };
}
const membersPath = (name = "", tenant = TENANT) => portalUrl(`/tenants/${tenant.tenantId}/members${name}`);
const roleOf = async (accountId: string, { tenantId } = TENANT) => {
  const rows = await sql<{ role: string }[]>`
    select role from portal.member where user_id = ${accountId} and organization_id = ${tenantId}`;
  return rows[0]?.role ?? null;
};

describe("members", () => {
  test("are managed by owners and admins; an admin neither makes nor changes an owner", async () => {
    const owner = await person("owner@acme.example", "owner");
    const admin = await person("admin@acme.example", "admin");
    const member = await person("member@acme.example", "member");
    const as = async ({ browser }: Person, name: string, form: Record<string, string>) =>
      (await browser.visit(membersPath(name), form)).status;

    expect((await member.browser.visit(membersPath())).status).toBe(403);
    expect(await as(member, "/invite", { email: "x@acme.example", role: "viewer" })).toBe(403);
    expect(await as(member, "/role", { account: member.accountId, role: "owner" })).toBe(403);
    expect(await as(member, "/remove", { account: admin.accountId })).toBe(403);
    expect(await as(admin, "/role", { account: owner.accountId, role: "viewer" })).toBe(403);
    expect(await as(admin, "/remove", { account: owner.accountId })).toBe(403);
    expect(await as(admin, "/role", { account: member.accountId, role: "owner" })).toBe(403);
    expect(await as(admin, "/invite", { email: "x@acme.example", role: "owner" })).toBe(403);
    expect(mailbox.mails).toHaveLength(0);

    expect(await as(admin, "/role", { account: member.accountId, role: "viewer" })).toBe(303);
    expect(await roleOf(member.accountId)).toBe("viewer");
    expect(await as(owner, "/remove", { account: owner.accountId })).toBe(409);
    expect(await as(owner, "/role", { account: owner.accountId, role: "admin" })).toBe(409);
    expect(await roleOf(owner.accountId)).toBe("owner");
    expect(await as(owner, "/remove", { account: member.accountId })).toBe(303);
    expect(await roleOf(member.accountId)).toBeNull();
    expect((await member.browser.visit(membersPath())).status).toBe(404);
    expect(await as(admin, "/remove", { account: admin.accountId })).toBe(200);
    expect(await roleOf(admin.accountId)).toBeNull();
  });

  test("are nobody's business but owners' and admins' of this very tenant, on every page and in every form", async () => {
    const owner = await person("boss@rights.example", "owner");
    const subject = await person("subject@rights.example", "member");
    const foreign = { tenantId: newId("ten"), slug: "foreign", cluster: "default" };
    const asked = {
      admin: await person("admin@rights.example", "admin"),
      member: await person("member@rights.example", "member"),
      viewer: await person("viewer@rights.example", "viewer"),
      // Who owns another tenant is nobody here.
      foreign: await person("owner@foreign.example", "owner", foreign),
    };
    const form = { account: subject.accountId, email: "new@rights.example", role: "admin", invitation: "inv_1" };
    const statuses = async ({ browser }: Person) => {
      await sql`delete from portal.rate_limit`;
      const pages = ["", "/members", "/sign-in"].map((page) => portalUrl(`/tenants/${TENANT.tenantId}${page}`));
      const shown = [];
      for (const page of pages) shown.push((await browser.visit(page)).status);
      const provider = { issuer: "https://id.example", clientId: "x", clientSecret: "y", name: "x" };
      const forms = [];
      for (const name of ["invite", "resend", "revoke", "role", "remove"])
        forms.push((await browser.visit(membersPath(`/${name}`), form)).status);
      for (const name of ["/sign-in", "/sign-in/remove"])
        forms.push((await browser.visit(portalUrl(`/tenants/${TENANT.tenantId}${name}`), provider)).status);
      return [shown, forms];
    };
    expect(await statuses(asked.member)).toEqual([[200, 403, 403], Array.from({ length: 7 }, () => 403)]);
    expect(await statuses(asked.viewer)).toEqual([[200, 403, 403], Array.from({ length: 7 }, () => 403)]);
    expect(await statuses(asked.foreign)).toEqual([[404, 404, 404], Array.from({ length: 7 }, () => 404)]);
    expect(await roleOf(subject.accountId)).toBe("member");
    expect(await sql`select 1 from portal.invitation where email = ${form.email}`).toHaveLength(0);
    // An admin manages members; how they sign in is the owner's.
    const [shown, forms] = await statuses(asked.admin);
    expect(shown).toEqual([200, 200, 403]);
    expect(forms).toEqual([303, 409, 409, 303, 303, 403, 403]);
    expect(await roleOf(subject.accountId)).toBeNull();
    expect((await owner.browser.visit(portalUrl(`/tenants/${TENANT.tenantId}/sign-in`))).status).toBe(200);
  });

  test("are invited, invited again, and an invitation is taken back", async () => {
    const { browser } = await person("inviter@acme.example", "owner");
    const email = "friend@acme.example";
    expect((await browser.visit(membersPath("/invite"), { email, role: "member" })).status).toBe(303);
    const first = mailbox.linkIn((await mailbox.next(email)).text);
    const [row] = await sql<{ id: string }[]>`select id from portal.invitation where email = ${email}`;
    const invitation = row?.id ?? "";
    const sent = mailbox.mails.length;
    expect((await browser.visit(membersPath("/resend"), { invitation })).status).toBe(303);
    const second = mailbox.linkIn((await mailbox.next(email, sent)).text);
    expect((await browser.visit(portalUrl(first))).status).toBe(400);
    expect((await createBrowser(stack.port).visit(portalUrl(second))).body).toContain("Join acme");
    expect((await browser.visit(membersPath("/revoke"), { invitation })).status).toBe(303);
    expect((await browser.visit(membersPath("/revoke"), { invitation })).status).toBe(409);
    expect((await browser.visit(portalUrl(second))).status).toBe(400);
  });

  test("stay as they are when their sessions can't be ended", async () => {
    const owner = await person("owner@stuck.example", "owner", STUCK);
    const member = await person("member@stuck.example", "member", STUCK);
    const form = { account: member.accountId };
    expect((await owner.browser.visit(membersPath("/remove", STUCK), form)).status).toBe(503);
    expect((await owner.browser.visit(membersPath("/role", STUCK), { ...form, role: "admin" })).status).toBe(503);
    expect(await roleOf(member.accountId, STUCK)).toBe("member");
  });

  test("can't be changed from another site's page, or by who is not signed in", async () => {
    const { browser, accountId } = await person("careful@acme.example", "owner");
    const evil = { origin: "http://evil.example" };
    for (const name of ["/invite", "/role", "/remove", "/revoke", "/resend"]) {
      const form = { account: accountId, email: "x@acme.example", role: "viewer", invitation: "x" };
      expect((await browser.visit(membersPath(name), form, evil)).status).toBe(403);
      const anonymous = await createBrowser(stack.port).visit(membersPath(name), form);
      expect([anonymous.status, anonymous.headers.location]).toEqual([303, "/sign-in?next=%2F"]);
    }
    expect(await roleOf(accountId)).toBe("owner");
  });
});

describe("a tenant of one's own", () => {
  const create = (browser: Browser, slug: string) => browser.visit(portalUrl("/tenants/new"), { slug });
  const owned = async (accountId: string) =>
    (await sql`select 1 from portal.member where user_id = ${accountId} and role = 'owner'`).length;

  test("wants a confirmed address, comes to be with its owner, and there are only so many", async () => {
    const { browser, accountId } = await person("maker@acme.example", "member");
    expect((await create(browser, "mine")).status).toBe(403);
    await sql`update portal.user set email_verified = true where id = ${accountId}`;
    const made = await create(browser, "mine");
    expect(made.headers.location).toMatch(/^\/tenants\/ten_[0-9a-z]{20}$/);
    const progress = await browser.visit(portalUrl(made.headers.location));
    expect(progress.body).toMatch(/Address reserved[\s\S]*Services started[\s\S]*mine is ready\.[\s\S]*Open mine/);
    expect(progress.body).not.toContain("<script");
    expect(await owned(accountId)).toBe(1);
    expect((await create(browser, "another")).status).toBe(403);
    const stranger = await person("stranger@acme.example", "member");
    expect((await stranger.browser.visit(portalUrl(made.headers.location))).status).toBe(404);
  });

  test.each([
    ["taken", "This name is taken."],
    ["9lives", "must start with a letter"],
    ["broken", "can&#39;t be created right now"],
  ])("that the console refuses leaves nothing behind (%s)", async (slug, told) => {
    const { browser, accountId } = await person(`${slug}@acme.example`, "member");
    await sql`update portal.user set email_verified = true where id = ${accountId}`;
    const answer = await create(browser, slug);
    expect(answer.status).toBe(400);
    expect(answer.body).toContain(told);
    expect(await owned(accountId)).toBe(0);
    expect(await sql`select 1 from portal.organization where name = ${slug}`).toHaveLength(0);
  });

  test("asked for many times at once is made once", async () => {
    const { browser, accountId } = await person("eager@acme.example", "member");
    await sql`update portal.user set email_verified = true where id = ${accountId}`;
    const answers = await Promise.all(["one", "two", "six"].map((slug) => create(browser, `eager-${slug}`)));
    expect(answers.filter(({ status }) => status === 303)).toHaveLength(1);
    expect(await owned(accountId)).toBe(1);
  });
});
