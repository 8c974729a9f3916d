import axe from "axe-core";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { openBrowser } from "../support/browser.ts";
import { type TestStack, sharedStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

// From nobody to a tenant with two people and out again, on the whole local stack: real edge, portal, console, provisioner, node and Envoy.
const PASSWORD = "correct horse battery";
/** The bound for every revocation, with what the API's own answer and the operation take. */
const BOUND_MS = 10_000;
let stack: TestStack;
let browser: Browser;
let opened: Awaited<ReturnType<typeof openBrowser>>;
beforeAll(async () => {
  stack = await sharedStack();
  opened = await openBrowser();
  browser = opened.browser;
});
afterAll(async () => opened?.close());

const host = (name: string) => `${name}${name === "" ? "" : "."}${stack.baseDomain}:${stack.edgePort}`;
const at = (name: string, path: string) => `http://${host(name)}${path}`;
const click = (page: Page, name: string) =>
  Promise.all([
    page.waitForEvent("load"),
    page
      .getByRole("link", { name, exact: true })
      .or(page.getByRole("button", { name, exact: true }))
      .click(),
  ]);
const heading = (page: Page) => page.textContent("h1");

const mail = z.looseObject({ msg: z.literal("mail"), to: z.string(), text: z.string() });
/** The link in the newest mail to somebody: the local stack's mails are in the portal's log. */
async function linkMailedTo(email: string, about: string): Promise<string> {
  const find = () =>
    stack
      .log("workers")
      .split("\n")
      .flatMap((line) => {
        if (!line.includes('"mail"')) return [];
        const parsed = mail.safeParse(JSON.parse(line.slice(line.indexOf("{"))));
        return parsed.success && parsed.data.to === email ? [parsed.data.text] : [];
      })
      .findLast((text) => text.includes(about));
  await until(`a mail to ${email}`, () => find() !== undefined);
  return /https?:\/\/\S+/.exec(find() ?? "")?.[0] ?? "";
}

const violations = z.array(z.object({ id: z.string(), impact: z.string().nullable() }));
async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(axe.source);
  expect(violations.parse(await page.evaluate("axe.run().then(({ violations }) => violations)"))).toEqual([]);
}

async function signUp(page: Page, email: string): Promise<void> {
  await page.goto(at("nobody-here", "/some/page"));
  expect(await heading(page)).toBe("Nobody is here");
  await click(page, "Go to the start page");
  await click(page, "Sign up");
  await page.fill("#email", email);
  await click(page, "Send the link");
  await page.goto(await linkMailedTo(email, "/sign-up/finish"));
  await page.fill("#new-password", PASSWORD);
  await click(page, "Save the password");
  await click(page, "Sign in");
  await signIn(page, email);
}
async function signIn(page: Page, email: string): Promise<void> {
  await page.fill("#email", email);
  await page.fill("#password", PASSWORD);
  await click(page, "Sign in");
}

/** Opens a WebSocket in the page and keeps what becomes of it. */
async function openSocket(page: Page, url: string): Promise<void> {
  await page.evaluate((address) => {
    const socket = new WebSocket(address);
    const seen = { open: false, closed: "" };
    Object.assign(globalThis, { seen });
    socket.addEventListener("open", () => void (seen.open = true));
    socket.addEventListener("close", ({ code, reason }) => void (seen.closed = `${code} ${reason}`));
  }, url);
  await page.waitForFunction("seen.open");
}

test("sign-up, a tenant of one's own, a second person, stricter access, and sign-out everywhere", async () => {
  const slug = `walk-${Date.now().toString(36)}`;
  const owner = `owner@${slug}.example`;
  const second = `second@${slug}.example`;
  const contexts: BrowserContext[] = [];
  const newPage = async () => {
    // Only the test's own script is let past the pages' policy.
    const context = await browser.newContext({ bypassCSP: true });
    contexts.push(context);
    return await context.newPage();
  };

  const page = await newPage();
  await signUp(page, owner);
  expect(await page.textContent("main")).toContain("not a member of any tenant");
  await click(page, "New tenant");
  await page.fill("#slug", slug);
  await click(page, "Create it");
  expect(await heading(page)).toBe(`Setting up ${slug}`);
  expect(await page.textContent("[role=status]")).toBe(`${slug} is ready.`);
  expect(await page.locator(".steps li").count()).toBeGreaterThan(3);
  await expectAccessible(page);

  // Its page: served by its own service on a node, to its owner without another form.
  await click(page, `Open ${slug}`);
  expect(page.url()).toBe(at(slug, "/app"));
  expect(await page.textContent("body")).toContain(`"tenant":"${slug}"`);
  await page.goto(at(slug, "/private/report"));
  expect(page.url()).toBe(at(slug, "/private/report"));

  await page.goto(at("", "/"));
  await click(page, `About ${slug}`);
  await click(page, "Members");
  await page.fill("#email", second);
  await click(page, "Send the invitation");
  expect(await page.textContent("[role=status]")).toContain("on its way");

  const theirs = await newPage();
  await theirs.goto(await linkMailedTo(second, "/invitation"));
  await theirs.fill("#new-password", PASSWORD);
  await click(theirs, "Sign up and join");
  expect(await heading(theirs)).toBe(`You are a member of ${slug}`);
  await theirs.goto(at(slug, "/private/"));
  await signIn(theirs, second);
  expect(theirs.url()).toBe(at(slug, "/private/"));
  await openSocket(theirs, `ws://${host(slug)}/private/ws`);

  // Stricter: whoever is there is judged anew, on an open socket too.
  const routes = z.object({ items: z.array(z.looseObject({ prefix: z.string() })) });
  const { items } = await stack.api.get(`/tenants/${slug}/routes`, routes);
  const stricter = items.map((route) =>
    route.prefix === "/private" ? { ...route, access: "member", roles: { use: "owner" } } : route,
  );
  await stack.api.put(`/tenants/${slug}/routes`, { items: stricter }, z.unknown());
  await theirs.waitForFunction("seen.closed !== ''", undefined, { timeout: BOUND_MS });
  expect(await theirs.evaluate("seen.closed")).toBe("1008 forbidden");
  const refused = await theirs.goto(at(slug, "/private/"));
  expect(refused?.status()).toBe(403);
  await expectAccessible(theirs);
  expect((await page.goto(at(slug, "/private/")))?.status()).toBe(200);

  await openSocket(page, `ws://${host(slug)}/private/ws`);
  const account = await contexts[0]?.newPage();
  if (account === undefined) throw new Error("no context");
  await account.goto(at("", "/account"));
  await click(account, "Sign out everywhere");
  expect(await heading(account)).toBe("You are signed out");
  await page.waitForFunction("seen.closed !== ''", undefined, { timeout: BOUND_MS });
  expect(await page.evaluate("seen.closed")).toBe("1008 unauthorized");
  await page.goto(at(slug, "/private/"));
  expect(await heading(page)).toBe("Sign in");
  for (const context of contexts) await context.close();
});
