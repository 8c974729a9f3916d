import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { until } from "../support/until.ts";
import { createBrowser, hiddenField, send } from "./edge/browser.ts";
import { startMailbox, type Mailbox } from "./edge/mailbox.ts";
import { BASE, tenantRecord, toService } from "./edge/records.ts";
import { startTestNode, type TestNode } from "./edge/origin.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// Accounts from end to end: a scripted browser, the real edge and portal on workerd, a real PostgreSQL, a mail service on loopback.
const NODE = "nod_1";
const PASSWORD = "correct horse battery";
const NEW_PASSWORD = "paper lantern orbit";
const KEY = "Bearer mail-service-key";
let pg: TestPostgres;
let sql: postgres.Sql;
let stack: EdgeStack;
let node: TestNode;
let mailbox: Mailbox;

const portalUrl = (path = "/"): string => `http://${BASE}:${stack.port}${path}`;
const page = (path = "/manager"): string => `http://acme.${BASE}:${stack.port}${path}`;
type Browser = ReturnType<typeof createBrowser>;

beforeAll(async () => {
  pg = await startPostgres();
  mailbox = await startMailbox();
  const database = await pg.createDatabase();
  const url = pg.url(database, { user: "causeway_portal", password: ROLE_PASSWORDS.causeway_portal });
  const mail = JSON.stringify({ kind: "http", url: mailbox.url, from: "no-reply@causeway.example" });
  stack = await startEdgeStack(url, {}, { MAIL: mail, MAIL_KEY: KEY, SIGN_UP: "open" });
  sql = postgres(pg.url(database), { max: 2, onnotice: () => {} });
  node = await startTestNode(NODE, stack.proofKey);
  const routes = [toService("/app"), toService("/manager", "member")];
  await stack.publish(tenantRecord("acme", { id: NODE, url: node.url }, { routes }));
});
afterAll(async () => {
  await stack.stop();
  await node.stop();
  await mailbox.stop();
  await sql.end();
  await pg.stop();
});
// Many tests come from the one address that they all have.
beforeEach(async () => {
  await sql`delete from portal.rate_limit`;
});

let names = 0;
/** An account of this test's own, a member of acme, made by an operator. */
async function newMember(): Promise<{ email: string; accountId: string }> {
  const email = `person-${++names}@acme.example`;
  const input = { tenantId: "ten_acme", slug: "acme", cluster: "default", password: PASSWORD, role: "member" as const };
  const { accountId } = await stack.members.ensureMember({ ...input, email });
  return { email, accountId };
}
async function signIn(browser: Browser, email: string, password = PASSWORD): Promise<number> {
  return (await browser.visit(portalUrl("/sign-in"), { email, password, next: "/" })).status;
}
/** Asks by `form` and answers the path of the link that comes. */
async function mailedLink(browser: Browser, path: string, email: string): Promise<string> {
  const before = mailbox.mails.length;
  expect((await browser.visit(portalUrl(path), { email })).status).toBe(200);
  return mailbox.linkIn((await mailbox.next(email.toLowerCase(), before)).text);
}
const tokenOf = (link: string): string => new URL(link, "http://x").searchParams.get("token") ?? "";

describe("a forgotten password", () => {
  test("is set anew by a mailed link that works once; all sessions end, on tenants' hosts too", async () => {
    const { email } = await newMember();
    const signedIn = createBrowser(stack.port);
    await signIn(signedIn, email);
    // The cookie is not shown before the end, or the edge would rightly not ask about it again within a minute.
    const asked = await signedIn.visit(page());
    await signedIn.visit((await signedIn.visit(asked.headers.location ?? "")).headers.location ?? "");
    expect(signedIn.cookies(`acme.${BASE}`).get("causeway")).toBeDefined();

    const browser = createBrowser(stack.port);
    const link = await mailedLink(browser, "/forgot-password", email.toUpperCase());
    // Mail programs open links before people do.
    for (let times = 0; times < 2; times++) expect((await browser.visit(portalUrl(link))).status).toBe(200);
    const form = { token: tokenOf(link), password: NEW_PASSWORD };
    const done = await browser.visit(portalUrl("/reset-password"), form);
    expect([done.status, done.headers["set-cookie"]]).toEqual([200, undefined]);
    const again = await browser.visit(portalUrl("/reset-password"), { ...form, password: "yet another password" });
    expect([again.status, again.headers["causeway-error"]]).toEqual([400, "bad-request"]);
    expect((await browser.visit(portalUrl(link))).status).toBe(400);

    expect(await signIn(browser, email)).toBe(401);
    expect(await signIn(browser, email, NEW_PASSWORD)).toBe(303);
    expect((await signedIn.visit(page())).status).toBe(303);
    expect((await signedIn.visit(portalUrl("/account"))).headers.location).toBe("/sign-in?next=/account");
    await until("word to the owner", () => mailbox.mails.at(-1)?.subject === "Your password was changed");
  });

  test("of many forms with one link at once, one is taken", async () => {
    const { email } = await newMember();
    const link = await mailedLink(createBrowser(stack.port), "/forgot-password", email);
    const answers = await Promise.all(
      [1, 2, 3, 4].map((each) =>
        createBrowser(stack.port).visit(portalUrl("/reset-password"), {
          token: tokenOf(link),
          password: `${NEW_PASSWORD} ${each}`,
        }),
      ),
    );
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, 400, 400, 400]);
  });

  test("answers the same for an address that nobody has, and sends it nothing", async () => {
    const { email } = await newMember();
    const ask = (of: string) => createBrowser(stack.port).visit(portalUrl("/forgot-password"), { email: of });
    const [known, unknown] = [await ask(email), await ask("nobody@acme.example")];
    const visible = ({ status, body, headers }: typeof known) => ({
      status,
      body,
      headers: Object.fromEntries(
        Object.entries(headers).filter(([name]) => name !== "date" && name !== "causeway-request-id"),
      ),
    });
    expect(visible(unknown)).toEqual(visible(known));
    await mailbox.next(email);
    expect(mailbox.mails.some(({ to }) => to === "nobody@acme.example")).toBe(false);
    expect(await sql`select 1 from portal.mail_link where email = 'nobody@acme.example'`).toHaveLength(0);
  });

  test("a link is worthless after its time, for something else, when a newer one was sent, and as its hash", async () => {
    const { email } = await newMember();
    const browser = createBrowser(stack.port);
    const first = await mailedLink(browser, "/forgot-password", email);
    const second = await mailedLink(browser, "/forgot-password", email);
    const isGood = async (path: string) => (await browser.visit(portalUrl(path))).status === 200;
    expect([await isGood(first), await isGood(second)]).toEqual([false, true]);
    expect(await isGood(`/verify?token=${tokenOf(second)}`)).toBe(false);
    expect(await isGood(`/sign-up/finish?token=${tokenOf(second)}`)).toBe(false);
    const rows = await sql<{ token_hash: string }[]>`select * from portal.mail_link where email = ${email}`;
    expect(JSON.stringify(rows)).not.toContain(tokenOf(second));
    expect(await isGood(`/reset-password?token=${rows[0]?.token_hash.slice(0, 43)}`)).toBe(false);
    const [left] = await sql<{ minutes: number }[]>`
      select extract(epoch from expires_at - now())::float / 60 as minutes from portal.mail_link where email = ${email}`;
    expect(left?.minutes).toBeGreaterThan(29);
    expect(left?.minutes).toBeLessThanOrEqual(30);
    await sql`update portal.mail_link set expires_at = now() - interval '1 second' where email = ${email}`;
    expect(await isGood(second)).toBe(false);
    const late = { token: tokenOf(second), password: NEW_PASSWORD };
    expect((await browser.visit(portalUrl("/reset-password"), late)).status).toBe(400);
    expect(await signIn(browser, email)).toBe(303);
  });

  test("can be asked for five times an hour, known or not", async () => {
    const { email } = await newMember();
    for (const of of [email, "nobody@acme.example"]) {
      const statuses: number[] = [];
      for (let tries = 0; tries < 7; tries++) {
        statuses.push((await createBrowser(stack.port).visit(portalUrl("/forgot-password"), { email: of })).status);
      }
      expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429]);
    }
  });

  test.each([
    ["short", "at least 12"],
    ["aaaaaaaaaaaaaaaa", "different characters"],
  ])("does not take the password %s, and keeps the link", async (password, says) => {
    const { email } = await newMember();
    const browser = createBrowser(stack.port);
    const link = await mailedLink(browser, "/forgot-password", email);
    const refused = await browser.visit(portalUrl("/reset-password"), { token: tokenOf(link), password });
    expect(refused.status).toBe(400);
    expect(refused.body).toContain(says);
    expect(hiddenField(refused.body, "token")).toBe(tokenOf(link));
    const good = { token: tokenOf(link), password: NEW_PASSWORD };
    expect((await browser.visit(portalUrl("/reset-password"), good)).status).toBe(200);
  });

  test("a mail service that fails is not told to the visitor", async () => {
    const { email } = await newMember();
    await mailbox.setStatus(500);
    try {
      expect((await createBrowser(stack.port).visit(portalUrl("/forgot-password"), { email })).status).toBe(200);
      await until("a line in the log", () =>
        stack.log.some(({ msg, call }) => msg === "call failed" && call === "mail"),
      );
    } finally {
      await mailbox.setStatus(202);
    }
  });
});

test("whoever was on the way to a tenant's page gets there after a detour by mail, in the same browser", async () => {
  const { email } = await newMember();
  const browser = createBrowser(stack.port);
  const { urls } = await browser.follow(page("/manager?x=1"));
  const link = await mailedLink(browser, "/forgot-password", email);
  await browser.visit(portalUrl("/reset-password"), { token: tokenOf(link), password: NEW_PASSWORD });
  // What the page after it links to.
  const form = await browser.visit(portalUrl("/sign-in"));
  const next = hiddenField(form.body, "next");
  expect([next, form.body.includes(`<code>acme.${BASE}</code>`)]).toEqual([
    urls.at(-1)?.slice(portalUrl("").length),
    true,
  ]);
  // Another browser, or who goes to the start page, is on no way, nor does a cookie of somebody else's making lead elsewhere.
  expect(hiddenField((await createBrowser(stack.port).visit(portalUrl("/sign-in"))).body, "next")).toBe("/");
  expect(hiddenField((await browser.visit(portalUrl("/sign-in?next=/"))).body, "next")).toBe("/");
  const planted = createBrowser(stack.port);
  planted.setCookie(BASE, "causeway-portal-next", encodeURIComponent("//evil.example/"));
  expect(hiddenField((await planted.visit(portalUrl("/sign-in"))).body, "next")).toBe("/");

  const done = await browser.follow(portalUrl("/sign-in"), { email, password: NEW_PASSWORD, next });
  expect([done.answer.status, done.urls.at(-1)]).toEqual([200, page("/manager?x=1")]);
  expect(hiddenField((await browser.visit(portalUrl("/sign-in"))).body, "next")).toBe("/");
});

describe("sign-up", () => {
  test("makes an account by a mailed link, with a verified address and nothing before", async () => {
    const email = "New.Person@Example.com";
    const browser = createBrowser(stack.port);
    const link = await mailedLink(browser, "/sign-up", email);
    expect(await sql`select 1 from portal.user where email = ${email.toLowerCase()}`).toHaveLength(0);
    const form = { token: tokenOf(link), password: NEW_PASSWORD };
    expect((await browser.visit(portalUrl("/sign-up/finish"), form)).status).toBe(200);
    expect((await browser.visit(portalUrl("/sign-up/finish"), form)).status).toBe(400);
    const rows = await sql`select email_verified from portal.user where email = ${email.toLowerCase()}`;
    expect(rows).toEqual([{ email_verified: true }]);
    expect(await signIn(browser, email, NEW_PASSWORD)).toBe(303);
    // An account is no membership.
    const { answer } = await browser.follow(page());
    expect([answer.status, answer.headers["causeway-error"]]).toEqual([403, "forbidden"]);
  });

  test("of an address that has an account says the same and tells its owner only", async () => {
    const { email } = await newMember();
    const browser = createBrowser(stack.port);
    const known = await browser.visit(portalUrl("/sign-up"), { email });
    const unknown = await browser.visit(portalUrl("/sign-up"), { email: "someone.else@example.com" });
    expect([known.status, known.body]).toEqual([unknown.status, unknown.body]);
    expect((await mailbox.next(email)).subject).toBe("You have an account already");
    expect((await mailbox.next("someone.else@example.com")).subject).toBe("Finish your sign-up");
  });

  test("that fails half-way leaves neither account nor used link", async () => {
    const email = "half-way@example.com";
    const browser = createBrowser(stack.port);
    const link = await mailedLink(browser, "/sign-up", email);
    const form = { token: tokenOf(link), password: NEW_PASSWORD };
    await sql.unsafe(`
      create function portal.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
      create trigger refuse before insert on portal.account for each row execute function portal.refuse();`);
    try {
      expect((await browser.visit(portalUrl("/sign-up/finish"), form)).status).toBe(503);
      expect(await sql`select 1 from portal.user where email = ${email}`).toHaveLength(0);
    } finally {
      await sql.unsafe("drop trigger refuse on portal.account; drop function portal.refuse()");
    }
    expect((await browser.visit(portalUrl("/sign-up/finish"), form)).status).toBe(200);
  });
});

describe("the account page", () => {
  test("changes the password: the current one is needed, other sessions end, this browser gets a new one", async () => {
    const { email } = await newMember();
    const [browser, other] = [createBrowser(stack.port), createBrowser(stack.port)];
    await signIn(browser, email);
    await signIn(other, email);
    const before = browser.cookies(BASE).get("causeway-portal");
    const change = (current: string, password: string) =>
      browser.visit(portalUrl("/account/password"), { current, password });
    expect((await change("not the password", NEW_PASSWORD)).status).toBe(401);
    expect((await change(PASSWORD, "short")).status).toBe(400);
    expect((await change(PASSWORD, NEW_PASSWORD)).headers.location).toBe("/account?done=password");
    expect(browser.cookies(BASE).get("causeway-portal")).not.toBe(before);
    expect((await browser.visit(portalUrl("/account"))).status).toBe(200);
    expect((await other.visit(portalUrl("/account"))).status).toBe(303);
    expect(await signIn(createBrowser(stack.port), email, NEW_PASSWORD)).toBe(303);
    expect((await mailbox.next(email)).subject).toBe("Your password was changed");
  });

  test("lists the account's own sessions and ends one of them, never another's", async () => {
    const [mine, others] = [await newMember(), await newMember()];
    const [browser, second] = [createBrowser(stack.port), createBrowser(stack.port)];
    const stranger = createBrowser(stack.port);
    await signIn(browser, mine.email);
    await signIn(second, mine.email);
    await signIn(stranger, others.email);
    const shown = (await browser.visit(portalUrl("/account"))).body;
    expect(shown.match(/<time /g)).toHaveLength(2);
    const [foreign] = await sql<{ id: string }[]>`select id from portal.session where user_id = ${others.accountId}`;
    for (const session of [hiddenField(shown, "session"), foreign?.id ?? ""]) {
      await browser.visit(portalUrl("/account/end-session"), { session });
    }
    expect((await browser.visit(portalUrl("/account"))).status).toBe(200);
    expect((await second.visit(portalUrl("/account"))).status).toBe(303);
    expect((await stranger.visit(portalUrl("/account"))).status).toBe(200);
  });

  test("signs out everywhere: at the portal in all browsers, and on tenants' hosts", async () => {
    const { email } = await newMember();
    const [browser, other] = [createBrowser(stack.port), createBrowser(stack.port)];
    await signIn(browser, email);
    await signIn(other, email);
    const asked = await other.visit(page());
    await other.visit((await other.visit(asked.headers.location ?? "")).headers.location ?? "");
    expect((await browser.visit(portalUrl("/account/sign-out-everywhere"), {})).status).toBe(200);
    expect(browser.cookies(BASE).size).toBe(0);
    expect((await other.visit(portalUrl("/account"))).status).toBe(303);
    const cookie = `causeway=${other.cookies(`acme.${BASE}`).get("causeway")}`;
    const host = `acme.${BASE}`;
    expect((await send(stack.port, { host, path: "/manager", headers: { cookie } })).status).toBe(401);
  });

  test("confirms an address that an operator typed", async () => {
    const { email, accountId } = await newMember();
    const browser = createBrowser(stack.port);
    await signIn(browser, email);
    const isVerified = async () =>
      (await sql`select 1 from portal.user where id = ${accountId} and email_verified`).length === 1;
    expect((await browser.visit(portalUrl("/account"))).body).toContain("not confirmed yet");
    await browser.visit(portalUrl("/account/verify"), {});
    const link = mailbox.linkIn((await mailbox.next(email)).text);
    expect((await browser.visit(portalUrl(link))).status).toBe(200);
    expect(await isVerified()).toBe(false);
    const form = { token: tokenOf(link) };
    expect((await browser.visit(portalUrl("/verify"), form)).status).toBe(200);
    expect(await isVerified()).toBe(true);
    expect((await browser.visit(portalUrl("/verify"), form)).status).toBe(400);
    expect((await browser.visit(portalUrl("/account"))).body).not.toContain("not confirmed yet");
  });
});

describe("attacks", () => {
  const FORMS = [
    "/forgot-password",
    "/reset-password",
    "/sign-up",
    "/sign-up/finish",
    "/verify",
    "/invitation",
    "/account/password",
    "/account/end-session",
    "/account/sign-out-everywhere",
    "/account/verify",
  ];

  test.each(FORMS)("a form of another site to %s is refused, also of a tenant's host", async (path) => {
    const { email } = await newMember();
    const browser = createBrowser(stack.port);
    await signIn(browser, email);
    const form = { email, token: "t".repeat(43), password: NEW_PASSWORD, current: PASSWORD, session: "x" };
    for (const origin of ["http://evil.example", `http://acme.${BASE}:${stack.port}`, "null"]) {
      const answer = await browser.visit(portalUrl(path), form, { origin });
      expect([answer.status, answer.headers["causeway-error"]]).toEqual([403, "forbidden"]);
      expect(answer.headers["set-cookie"]).toBeUndefined();
    }
    expect((await browser.visit(portalUrl("/account"))).status).toBe(200);
  });

  test.each([
    "//evil.example",
    "https://evil.example",
    "/account?x",
    "/account/../x",
    "/invitation?token=x",
    "/\\evil",
  ])("the sign-in page does not go on to %s", async (next) => {
    const shown = await createBrowser(stack.port).visit(
      portalUrl(`/sign-in?${new URLSearchParams({ next }).toString()}`),
    );
    expect(hiddenField(shown.body, "next")).toBe("/");
  });

  test("a session that was planted before the sign-in is not the one after it", async () => {
    const { email } = await newMember();
    const attacker = createBrowser(stack.port);
    await signIn(attacker, (await newMember()).email);
    const planted = attacker.cookies(BASE).get("causeway-portal") ?? "";
    const victim = createBrowser(stack.port);
    victim.setCookie(BASE, "causeway-portal", planted);
    await signIn(victim, email);
    expect(victim.cookies(BASE).get("causeway-portal")).not.toBe(planted);
    expect((await attacker.visit(portalUrl("/account"))).body).not.toContain(email);
    expect((await victim.visit(portalUrl("/account"))).body).toContain(email);
  });

  test("the host of a link is the platform's, whatever Host the form came with", async () => {
    const { email } = await newMember();
    const before = mailbox.mails.length;
    const body = new URLSearchParams({ email }).toString();
    const headers = {
      "content-type": "application/x-www-form-urlencoded",
      "sec-fetch-site": "same-origin",
      "x-forwarded-host": "evil.example",
      "causeway-client-address": "203.0.113.9",
    };
    for (const host of [`${BASE}.`, BASE, `${BASE}:${stack.port}`]) {
      await send(stack.port, { host, path: "/forgot-password", method: "POST", headers, body });
    }
    const { text } = await mailbox.next(email, before);
    expect(text).toContain(`http://${BASE}:${stack.port}/reset-password?token=`);
    expect(text).not.toContain("evil");
  });

  test("no token, address, password or key of a mail service is in a log or an answer's address", async () => {
    const log = JSON.stringify(stack.log);
    for (const { to, text } of mailbox.mails) {
      const [, token = "no-token"] = /token=([A-Za-z0-9_-]{43})/.exec(text) ?? [];
      for (const secret of [to, token, PASSWORD, NEW_PASSWORD, KEY]) expect(log).not.toContain(secret);
    }
    expect(mailbox.mails.every(({ authorization }) => authorization === KEY)).toBe(true);
  });
});
