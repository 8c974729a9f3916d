import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { InviteInput } from "../../src/protocol/portal-rpc.ts";
import { newId } from "../../src/shared/ids.ts";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { createBrowser } from "./edge/browser.ts";
import { startMailbox, type Mailbox } from "./edge/mailbox.ts";
import { startTestNode, type TestNode } from "./edge/origin.ts";
import { BASE, tenantRecord, toService } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// Invitations and roles from end to end; people may sign up by invitation only, which is the default.
const PASSWORD = "correct horse battery";
let pg: TestPostgres;
let sql: postgres.Sql;
let stack: EdgeStack;
let node: TestNode;
let mailbox: Mailbox;

beforeAll(async () => {
  pg = await startPostgres();
  mailbox = await startMailbox();
  const database = await pg.createDatabase();
  const url = pg.url(database, { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal });
  const mail = JSON.stringify({ kind: "http", url: mailbox.url, from: "no-reply@causeway.example" });
  stack = await startEdgeStack(url, {}, { MAIL: mail, MAIL_KEY: "Bearer key" });
  sql = postgres(pg.url(database), { max: 2, onnotice: () => {} });
  node = await startTestNode("nod_1", stack.proofKey);
});
afterAll(async () => {
  await stack.stop();
  await node.stop();
  await mailbox.stop();
  await sql.end();
  await pg.stop();
});
beforeEach(async () => {
  await sql`delete from portal.rate_limit`;
});

type Browser = ReturnType<typeof createBrowser>;
const portalUrl = (path = "/"): string => `http://${BASE}:${stack.port}${path}`;
const signIn = (browser: Browser, email: string, next = "/") =>
  browser.visit(portalUrl("/sign-in"), { email, password: PASSWORD, next });
const tokenOf = (path: string): string => new URL(path, "http://x").searchParams.get("token") ?? "";
const accept = (browser: Browser, link: string, password = PASSWORD) =>
  browser.visit(portalUrl("/invitation"), { token: tokenOf(link), password });

let tenants = 0;
/** A tenant of this test's own with one owner. */
async function newTenant() {
  const slug = `tenant${++tenants}`;
  const tenant = { tenantId: newId("ten"), slug, cluster: "default" };
  const routes = [toService("/manager", "member")];
  await stack.publish(tenantRecord(slug, { id: "nod_1", url: node.url }, { routes, tenantId: tenant.tenantId }));
  const ownerEmail = `owner@${slug}.example`;
  const owner = await stack.members.ensureMember({ ...tenant, email: ownerEmail, password: PASSWORD, role: "owner" });
  /** Invites and answers the invitation's id and the mailed link. */
  async function invite(email: string, role: InviteInput["role"] = "member") {
    const before = mailbox.mails.length;
    const result = await stack.members.invite({ ...tenant, email, role });
    if (result.kind !== "invited") throw new Error(result.kind);
    return { ...result, link: mailbox.linkIn((await mailbox.next(email.toLowerCase(), before)).text) };
  }
  const roles = async () =>
    Object.fromEntries(
      (await stack.members.listMembers(tenant.tenantId)).members.map(({ email, role }) => [email, role]),
    );
  return {
    ...tenant,
    ownerEmail,
    ownerId: owner.accountId,
    invite,
    roles,
    page: `http://${slug}.${BASE}:${stack.port}/manager`,
  };
}

describe("an invitation", () => {
  test("lets somebody new sign up and join at once, with the role that it names (H102)", async () => {
    const tenant = await newTenant();
    const email = "New.Person@Example.com";
    const { link, expiresAtMs } = await tenant.invite(email, "viewer");
    expect(expiresAtMs - Date.now()).toBeGreaterThan(7 * 24 * 3_600_000 - 60_000);
    const browser = createBrowser(stack.port);
    const shown = await browser.visit(portalUrl(link));
    expect(shown.body).toContain(`Join ${tenant.slug}`);
    expect(shown.body).toContain("Sign up and join");
    expect((await accept(browser, link, "short")).status).toBe(400);
    expect((await accept(browser, link)).status).toBe(200);
    expect(await tenant.roles()).toEqual({ [tenant.ownerEmail]: "owner", [email.toLowerCase()]: "viewer" });
    expect(await sql`select email_verified from portal.user where email = ${email.toLowerCase()}`).toEqual([
      { email_verified: true },
    ]);
    const { answer } = await browser.follow(portalUrl("/sign-in"), { email, password: PASSWORD, next: "/" });
    expect(answer.body).toContain(`href="${new URL("/", tenant.page).toString().replace(/\/$/, "")}`);
    expect((await browser.follow(tenant.page)).answer.status).toBe(200);
    // Once is enough.
    expect((await accept(createBrowser(stack.port), link)).status).toBe(400);
    expect((await stack.members.listMembers(tenant.tenantId)).invitations).toEqual([]);
  });

  test("lets somebody with an account sign in and join", async () => {
    const [home, tenant] = [await newTenant(), await newTenant()];
    const { link } = await tenant.invite(home.ownerEmail);
    const browser = createBrowser(stack.port);
    const shown = await browser.visit(portalUrl(link));
    expect(shown.body).toContain("Sign in to join");
    expect(shown.body).not.toContain('type="password"');
    const next = new URL(/href="(\/sign-in\?[^"]+)"/.exec(shown.body)?.[1] ?? "", portalUrl()).searchParams.get("next");
    expect(next).toBe(link);
    const signedIn = await signIn(browser, home.ownerEmail, next ?? "");
    expect(signedIn.headers.location).toBe(link);
    expect((await browser.visit(portalUrl(link))).body).toContain("Join</button>");
    expect((await accept(browser, link)).status).toBe(200);
    expect((await tenant.roles())[home.ownerEmail]).toBe("member");
  });

  test("is worthless to another account, and to somebody who only knows that the address has one", async () => {
    const [home, stranger, tenant] = [await newTenant(), await newTenant(), await newTenant()];
    const { link } = await tenant.invite(home.ownerEmail, "owner");
    const other = createBrowser(stack.port);
    await signIn(other, stranger.ownerEmail);
    expect((await other.visit(portalUrl(link))).body).toContain(`signed in as ${stranger.ownerEmail}`);
    expect((await accept(other, link)).status).toBe(409);
    const nobody = await accept(createBrowser(stack.port), link, "a password of the thief");
    expect([nobody.status, nobody.headers["causeway-error"]]).toEqual([409, "conflict"]);
    expect(Object.keys(await tenant.roles())).toEqual([tenant.ownerEmail]);
    // It stays good for whom it is meant.
    const right = createBrowser(stack.port);
    await signIn(right, home.ownerEmail);
    expect((await accept(right, link)).status).toBe(200);
  });

  test("sent again, or made again, replaces the link before", async () => {
    const tenant = await newTenant();
    const email = `again@${tenant.slug}.example`;
    const first = await tenant.invite(email, "member");
    const second = await tenant.invite(email, "admin");
    expect(second.invitationId).toBe(first.invitationId);
    const before = mailbox.mails.length;
    expect((await stack.members.resend(tenant.tenantId, first.invitationId)).kind).toBe("invited");
    const third = mailbox.linkIn((await mailbox.next(email, before)).text);
    const isGood = async (link: string) => (await createBrowser(stack.port).visit(portalUrl(link))).status === 200;
    expect([await isGood(first.link), await isGood(second.link), await isGood(third)]).toEqual([false, false, true]);
    expect((await stack.members.listMembers(tenant.tenantId)).invitations).toMatchObject([{ email, role: "admin" }]);
    expect((await accept(createBrowser(stack.port), third)).status).toBe(200);
    expect((await tenant.roles())[email]).toBe("admin");
    expect((await stack.members.resend(tenant.tenantId, first.invitationId)).kind).toBe("not-found");
  });

  test("ends when it is revoked, by its time, and with the tenant; another tenant can't touch it", async () => {
    for (const end of ["revoked", "time", "tenant"] as const) {
      const [tenant, other] = [await newTenant(), await newTenant()];
      const { link, invitationId } = await tenant.invite(`gone@${tenant.slug}.example`);
      expect(await stack.members.revokeInvitation(other.tenantId, invitationId)).toBe(false);
      expect((await stack.members.resend(other.tenantId, invitationId)).kind).toBe("not-found");
      expect((await createBrowser(stack.port).visit(portalUrl(link))).status).toBe(200);
      if (end === "revoked") expect(await stack.members.revokeInvitation(tenant.tenantId, invitationId)).toBe(true);
      if (end === "time")
        await sql`update portal.invitation set expires_at = now() - interval '1 second' where id = ${invitationId}`;
      if (end === "tenant") await stack.members.removeTenant(tenant.tenantId);
      expect([end, (await createBrowser(stack.port).visit(portalUrl(link))).status]).toEqual([end, 400]);
      expect([end, (await accept(createBrowser(stack.port), link)).status]).toEqual([end, 400]);
      expect(await sql`select 1 from portal.user where email = ${`gone@${tenant.slug}.example`}`).toHaveLength(0);
    }
  });

  test("is taken once, also by many at once", async () => {
    const tenant = await newTenant();
    const { link } = await tenant.invite(`race@${tenant.slug}.example`);
    const answers = await Promise.all([1, 2, 3, 4].map(() => accept(createBrowser(stack.port), link)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.every(({ status }) => [200, 400, 409].includes(status))).toBe(true);
    expect(Object.keys(await tenant.roles())).toHaveLength(2);
  });

  test("that fails half-way leaves neither account nor membership, and stays good", async () => {
    const tenant = await newTenant();
    const email = `half@${tenant.slug}.example`;
    const { link } = await tenant.invite(email);
    await sql.unsafe(`
      create function portal.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
      create trigger refuse before insert on portal.member for each row execute function portal.refuse();`);
    try {
      expect((await accept(createBrowser(stack.port), link)).status).toBe(503);
      expect(await sql`select 1 from portal.user where email = ${email}`).toHaveLength(0);
    } finally {
      await sql.unsafe("drop trigger refuse on portal.member; drop function portal.refuse()");
    }
    expect((await accept(createBrowser(stack.port), link)).status).toBe(200);
  });

  test("is for people who are no members yet, and its token is stored as a hash only", async () => {
    const tenant = await newTenant();
    const { tenantId, slug, cluster } = tenant;
    const input = { tenantId, slug, cluster, email: tenant.ownerEmail, role: "viewer" as const };
    expect(await stack.members.invite(input)).toEqual({ kind: "already-member" });
    const { link } = await tenant.invite(`hash@${slug}.example`);
    const rows = await sql`select * from portal.invitation where organization_id = ${tenantId}`;
    expect(JSON.stringify(rows)).not.toContain(tokenOf(link));
    expect(JSON.stringify(stack.log)).not.toContain(tokenOf(link));
    expect(JSON.stringify(stack.log)).not.toContain(`hash@${slug}.example`);
  });

  test("is the only way to an account here: nobody signs up without one", async () => {
    const browser = createBrowser(stack.port);
    expect((await browser.visit(portalUrl("/sign-in"))).body).not.toContain("/sign-up");
    expect((await browser.visit(portalUrl("/sign-up"))).status).toBe(404);
    expect((await browser.visit(portalUrl("/sign-up"), { email: "who@example.com" })).status).toBe(404);
    expect(
      (await browser.visit(portalUrl("/sign-up/finish"), { token: "t".repeat(43), password: PASSWORD })).status,
    ).toBe(404);
  });
});

describe("members", () => {
  test("get another role and are removed, but the last owner stays (H102)", async () => {
    const tenant = await newTenant();
    const email = `second@${tenant.slug}.example`;
    const { tenantId, slug, cluster, ownerId } = tenant;
    const second = await stack.members.ensureMember({
      tenantId,
      slug,
      cluster,
      email,
      password: PASSWORD,
      role: "viewer",
    });
    expect(await stack.members.setRole(tenantId, ownerId, "admin")).toBe("last-owner");
    expect(await stack.members.removeMember(tenantId, ownerId)).toBe("last-owner");
    expect(await stack.members.setRole(tenantId, ownerId, "owner")).toBe("done");
    expect(await stack.members.setRole(tenantId, second.accountId, "owner")).toBe("done");
    // Two owners who remove each other at the same moment: one stays.
    const both = await Promise.all([ownerId, second.accountId].map((id) => stack.members.removeMember(tenantId, id)));
    expect(both.sort()).toEqual(["done", "last-owner"]);
    expect(Object.values(await tenant.roles())).toEqual(["owner"]);
    expect(await stack.members.removeMember(tenantId, "usr_nobody")).toBe("not-found");
    expect(await stack.members.setRole(tenantId, "usr_nobody", "owner")).toBe("not-found");
  });

  test("who were removed get no new session on the tenant's host", async () => {
    const tenant = await newTenant();
    const email = `leaves@${tenant.slug}.example`;
    const { tenantId, slug, cluster } = tenant;
    const { accountId } = await stack.members.ensureMember({
      tenantId,
      slug,
      cluster,
      email,
      password: PASSWORD,
      role: "member",
    });
    const browser = createBrowser(stack.port);
    await signIn(browser, email);
    expect((await browser.follow(tenant.page)).answer.status).toBe(200);
    expect(await stack.members.removeMember(tenantId, accountId)).toBe("done");
    const fresh = createBrowser(stack.port);
    await signIn(fresh, email);
    expect((await fresh.follow(tenant.page)).answer.status).toBe(403);
  });

  test.each([
    ["an unknown role", { role: "root" }],
    ["no address", { email: "nobody" }],
  ])("are not invited with %s", async (_, over) => {
    const { tenantId, slug, cluster } = await newTenant();
    const input = { tenantId, slug, cluster, email: "x@example.com", role: "member" as const };
    await expect((async () => await stack.members.invite(Object.assign(input, over)))()).rejects.toThrow("ZodError");
  });
});
