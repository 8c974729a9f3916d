import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBrowser } from "../support/browser.ts";
import { type TestStack, sharedStack } from "../support/stack.ts";

let stack: TestStack;
let browser: Browser;
let opened: Awaited<ReturnType<typeof openBrowser>>;
beforeAll(async () => {
  stack = await sharedStack();
  opened = await openBrowser();
  browser = opened.browser;
});
afterAll(async () => opened.close());

const at = (tenant: string, path: string) => `http://${tenant}.${stack.baseDomain}:${stack.edgePort}${path}`;

function member(slug: string): { email: string; password: string } {
  return JSON.parse(readFileSync(join(stack.stateDir, "secrets.json"), "utf8")).members[slug];
}

/** By keyboard only: type into the field that has the focus, Tab, type, Enter. */
async function signIn(page: Page, email: string, password: string): Promise<void> {
  await page.waitForSelector("input[name=email]:focus");
  await page.keyboard.type(email);
  await page.keyboard.press("Tab");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
}

test("a protected page sends a browser to sign-in and back to the same address, and only there", async () => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  const { email, password } = member("acme");

  await page.goto(at("acme", "/private/report?year=2026"));
  expect(new URL(page.url()).hostname).toBe(stack.baseDomain);

  await signIn(page, email, "not the password");
  await page.waitForSelector("[role=alert]");
  expect(new URL(page.url()).hostname).toBe(stack.baseDomain);

  await page.fill("input[name=email]", email);
  await page.fill("input[name=password]", password);
  await page.keyboard.press("Enter");
  await page.waitForURL(at("acme", "/private/report?year=2026"));
  expect(JSON.parse((await page.textContent("body")) ?? "")).toMatchObject({
    tenant: "acme",
    path: "/private/report?year=2026",
  });

  // The session is one cookie that scripts can't read and that belongs to this host alone.
  const cookies = await context.cookies(at("acme", "/"));
  expect(cookies.map(({ httpOnly, sameSite, domain }) => ({ httpOnly, sameSite, domain }))).toEqual([
    { httpOnly: true, sameSite: "Lax", domain: `acme.${stack.baseDomain}` },
  ]);

  // The same person at another tenant's host: known to the portal, no member there, no data.
  await page.goto(at("globex", "/private"));
  expect(await page.textContent("body")).not.toContain('"service"');
  expect(page.url().startsWith(at("globex", "/private"))).toBe(false);
  await context.close();
});

test("acme's session cookie is refused at globex", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const { email, password } = member("acme");
  await page.goto(at("acme", "/private"));
  await signIn(page, email, password);
  await page.waitForURL(at("acme", "/private"));
  const cookie = (await context.cookies(at("acme", "/")))[0];
  const stolen = { cookie: `${cookie?.name}=${cookie?.value}`, accept: "application/json" };
  expect((await stack.request("acme", "/private", { headers: stolen })).status).toBe(200);
  expect((await stack.request("globex", "/private", { headers: stolen })).status).toBe(401);
  await context.close();
});
