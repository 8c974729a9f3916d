import { join } from "node:path";
import axe from "axe-core";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { newId } from "../../src/shared/ids.ts";
import { openBrowser } from "../support/browser.ts";
import { ROLE_PASSWORDS, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { until } from "../support/until.ts";
import { startMailbox, type Mailbox } from "../system/edge/mailbox.ts";
import { startTestNode, type TestNode } from "../system/edge/origin.ts";
import { BASE, tenantRecord, toService } from "../system/edge/records.ts";
import { startEdgeStack, type EdgeStack } from "../system/edge/stack.ts";

// Every page of the portal in a real browser. SCREENSHOTS: a folder to put pictures of all of them, for people to look at.
const PASSWORD = "correct horse battery";
/** Takes every account. */
const BAZAAR = { tenantId: newId("ten"), slug: "bazaar" };
const TENANT = { tenantId: newId("ten"), slug: "acme", cluster: "default" };
let pg: TestPostgres;
let stack: EdgeStack;
let node: TestNode;
let mailbox: Mailbox;
let opened: Awaited<ReturnType<typeof openBrowser>>;
let browser: Browser;

beforeAll(async () => {
  pg = await startPostgres();
  mailbox = await startMailbox();
  const url = pg.url(await pg.createDatabase(), {
    user: "causeway_portal",
    password: ROLE_PASSWORDS.causeway_portal,
  });
  stack = await startEdgeStack(
    url,
    {},
    {
      MAIL: JSON.stringify({ kind: "http", url: mailbox.url, from: "no-reply@causeway.example" }),
      MAIL_KEY: "Bearer key",
      SIGN_UP: "open",
      TENANTS_PER_ACCOUNT: "3",
      OIDC: JSON.stringify({ issuer: "http://127.0.0.1:1", clientId: "causeway", name: "Example ID" }),
      OIDC_CLIENT_SECRET: "secret",
    },
  );
  node = await startTestNode("nod_1", stack.proofKey);
  const routes = [toService("/manager", "member")];
  await stack.publish(tenantRecord("acme", { id: "nod_1", url: node.url }, { routes, tenantId: TENANT.tenantId }));
  const forAll = { routes: [{ ...toService("/app"), access: "sign-up" as const }], tenantId: BAZAAR.tenantId };
  await stack.publish(tenantRecord(BAZAAR.slug, { id: "nod_1", url: node.url }, forAll));
  await stack.members.ensureMember({ ...TENANT, email: "owner@acme.example", password: PASSWORD, role: "owner" });
  await stack.members.ensureMember({
    ...TENANT,
    tenantId: newId("ten"),
    slug: "a-tenant-with-a-name-of-forty-characters",
    email: "owner@acme.example",
    password: PASSWORD,
    role: "viewer",
  });
  opened = await openBrowser();
  browser = opened.browser;
});
afterAll(async () => {
  await opened?.close();
  await stack?.stop();
  await node?.stop();
  await mailbox?.stop();
  await pg?.stop();
});

const portalUrl = (path = "/"): string => `http://${BASE}:${stack.port}${path}`;
const tenantUrl = (): string => `http://acme.${BASE}:${stack.port}/manager/report`;
const bazaarUrl = (): string => `http://${BAZAAR.slug}.${BASE}:${stack.port}/app`;

/** By keyboard only: into the field that has the focus, on by Tab, off by Enter. */
async function typeForm(page: Page, ...values: string[]): Promise<void> {
  // A browser gives it the focus at the first painting, which may come after the page's load; what is typed before is lost.
  await until("a field has the focus", async () => (await page.locator("input:focus").count()) > 0);
  for (const [index, value] of values.entries()) {
    if (index > 0) await page.keyboard.press("Tab");
    await page.keyboard.type(value);
  }
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
}
/** Tabs to the control with this name and presses Enter. */
async function press(page: Page, name: string): Promise<void> {
  for (let tabs = 0; tabs < 30; tabs++) {
    await page.keyboard.press("Tab");
    const focus = page.locator(":focus");
    const label = (await focus.count()) === 0 ? "" : ((await focus.textContent()) ?? "").trim();
    if (label !== name) continue;
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    return;
  }
  throw new Error(`no control is named ${name}`);
}
async function linkMailedTo(email: string, after: number): Promise<string> {
  return portalUrl(mailbox.linkIn((await mailbox.next(email, after)).text));
}
const heading = (page: Page) => page.textContent("h1");

test("somebody signs up, is invited, joins, opens the tenant, lets another one know who it is, and signs out everywhere, by keyboard and without a script", async () => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  const email = "walker@example.com";
  await page.goto(`http://nobody.${BASE}:${stack.port}/`);
  await press(page, "Go to the start page");
  await press(page, "Sign up");
  await typeForm(page, email);
  expect(await heading(page)).toBe("Look into your mail");
  await page.goto(await linkMailedTo(email, 0));
  await page.focus("input[type=password]");
  await typeForm(page, PASSWORD);
  await press(page, "Sign in");
  await typeForm(page, email, PASSWORD);
  expect(await heading(page)).toBe("Welcome back");
  expect(await page.textContent("main")).toContain("not a member of any tenant");

  const before = mailbox.mails.length;
  await stack.members.invite({ ...TENANT, email, role: "member" });
  await page.goto(await linkMailedTo(email, before));
  await press(page, "Join");
  expect(await heading(page)).toBe("You are a member of acme");
  await press(page, "Your tenants");
  expect(await page.locator(".choice strong").allTextContents()).toEqual(["acme"]);
  await page.goto(tenantUrl());
  expect(page.url()).toBe(tenantUrl());

  await page.goto(bazaarUrl());
  expect(await heading(page)).toBe("Let bazaar know you?");
  await press(page, "Not now");
  await press(page, "Start again");
  await press(page, "Allow");
  expect(page.url()).toBe(bazaarUrl());
  await page.goto(portalUrl("/account"));
  await press(page, "Forget me");
  expect(await page.textContent("[role=status]")).toContain("does not learn who you are any more");
  expect(await page.textContent("main")).not.toContain("Tenants that know you");

  await page.goto(portalUrl("/account"));
  await press(page, "Sign out everywhere");
  expect(await heading(page)).toBe("You are signed out");
  await page.goto(portalUrl("/account"));
  expect(await heading(page)).toBe("Sign in");
  await context.close();
});

/** Shows every page once, in an order that makes all of them reachable. */
async function visitAll(page: Page, look: (name: string) => Promise<void>, person: string): Promise<void> {
  const go = (path: string) => page.goto(portalUrl(path));
  const submit = (button: string) =>
    Promise.all([page.waitForNavigation(), page.getByRole("button", { name: button, exact: true }).click()]);
  await go("/");
  await look("start");
  await page.goto(`http://nobody.${BASE}:${stack.port}/`);
  await look("unknown-host");
  await page.goto(tenantUrl());
  await look("sign-in");
  await page.fill("#email", "owner@acme.example");
  await page.fill("#password", "not the password");
  await submit("Sign in");
  await look("sign-in-wrong");
  await go("/sign-in?error=provider");
  await look("sign-in-provider-failed");
  await go("/forgot-password");
  await look("forgot-password");
  await go("/reset-password?token=x");
  await look("link-gone");
  await go("/sign-up");
  await look("sign-up");
  const before = mailbox.mails.length;
  await page.fill("#email", person);
  await submit("Send the link");
  await look("mail-sent");
  await page.goto(await linkMailedTo(person, before));
  await look("new-password");
  await page.fill("#new-password", "a".repeat(12));
  await submit("Save the password");
  await look("new-password-refused");
  const invited = mailbox.mails.length;
  await stack.members.invite({ ...TENANT, email: person, role: "member" });
  const invitation = await linkMailedTo(person, invited);
  await page.goto(invitation);
  await look("invitation-sign-up");
  await go("/sign-in?next=/");
  await page.fill("#email", "owner@acme.example");
  await page.fill("#password", PASSWORD);
  await submit("Sign in");
  await look("tenants");
  await page.goto(invitation);
  await look("invitation-other-account");
  await go(`/tenants/${TENANT.tenantId}`);
  await look("tenant");
  await page.getByRole("link", { name: "Members", exact: true }).click();
  await page.waitForURL("**/members");
  await look("members");
  await page.fill("#email", `friend-of-${person}`);
  await page.selectOption("#role", "viewer");
  await submit("Send the invitation");
  await look("members-invited");
  await submit("Leave");
  await look("members-refused");
  await go(`/tenants/${TENANT.tenantId}/sign-in`);
  await look("tenant-provider");
  await go("/sign-in/tenant-provider?state=x&code=y");
  await look("tenant-provider-not-proven");
  await go("/tenants/new");
  await look("tenant-new-unverified");
  await go("/account");
  await look("account");
  await page.fill("#current-password", "not the password");
  await page.fill("#new-password", PASSWORD);
  await submit("Change the password");
  await look("account-wrong");
  await go("/sign-out");
  await look("sign-out");
  await submit("Sign out");
  await look("signed-out");
  await page.goto(invitation);
  await page.fill("#new-password", PASSWORD);
  await submit("Sign up and join");
  await look("joined");
  await go("/sign-in?next=/");
  await page.fill("#email", person);
  await page.fill("#password", PASSWORD);
  await submit("Sign in");
  await go("/tenants/new");
  await look("tenant-new");
  await page.fill("#slug", "taken");
  await submit("Create it");
  await look("tenant-new-refused");
  await page.fill("#slug", `of-${person.split("@")[0]}`);
  await submit("Create it");
  await look("tenant-progress");
  await page.reload();
  await look("tenant-new-ready");
  await page.goto(bazaarUrl());
  await look("consent");
  await submit("Not now");
  await look("consent-refused");
  await page.getByRole("link", { name: "Start again", exact: true }).click();
  await page.getByRole("button", { name: "Allow", exact: true }).click();
  await page.waitForURL(bazaarUrl());
  await go("/account");
  await look("account-known-by");
  await submit(`Forget me: ${BAZAAR.slug}`);
  await look("account-forgotten");
}

const violations = z.array(
  z.object({ id: z.string(), impact: z.string().nullable(), nodes: z.array(z.object({ html: z.string() })) }),
);
/** What depends on the scheme is looked at in both; the rest of axe's rules once, for they take long. */
const RULES = { phone: "", desktop: "{ runOnly: ['color-contrast'] }" };
const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 320, height: 640 } };

test.concurrent.each([
  ["light", "desktop"],
  ["dark", "phone"],
] as const)(
  "every page in %s on a %s: axe finds nothing, nothing is cut off, no script is sent",
  async (colorScheme, size) => {
    // Only the test's own script is let past the pages' policy.
    const options: BrowserContextOptions = { bypassCSP: true, colorScheme, viewport: SIZES[size] };
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const scripts: string[] = [];
    page.on("request", (request) => {
      if (!["document", "other"].includes(request.resourceType())) scripts.push(request.url());
    });
    const found: unknown[] = [];
    let pages = 0;
    async function look(name: string): Promise<void> {
      pages++;
      await page.evaluate(axe.source);
      const result = violations.parse(
        await page.evaluate(`axe.run(${RULES[size]}).then(({ violations }) => violations)`),
      );
      found.push(...result.map(({ id, impact, nodes }) => ({ name, id, impact, html: nodes.map(({ html }) => html) })));
      const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      if (typeof wide !== "number" || wide > 0) found.push({ name, wide });
      if ((await page.locator("script").count()) > 0) found.push({ name, script: true });
      const folder = process.env["SCREENSHOTS"];
      if (folder !== undefined) {
        await page.screenshot({ path: join(folder, `${name}-${colorScheme}-${size}.png`), fullPage: true });
      }
    }
    await visitAll(page, look, `${size}@example.com`);
    await context.close();
    expect(found).toEqual([]);
    expect(scripts).toEqual([]);
    expect(pages).toBe(34);
  },
  // Both at once take half a minute on a quiet machine, two on a busy one.
  300_000,
);
