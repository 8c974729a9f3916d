import { createHash } from "node:crypto";
import type { Browser } from "playwright-core";
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

test.each([
  ["on its own host", "demo--acme", "/"],
  ["behind a tenant's path route", "acme", "/plant/"],
  ["behind the route without its last slash", "acme", "/plant"],
])("a web app %s works in a browser: pages, live events, a WebSocket, an upload", async (_, host, path) => {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(`http://${host}.${stack.baseDomain}:${stack.edgePort}${path}`);
  expect(await page.title()).toContain("Plant 1");
  // The style sheet came: without it the body has no ground of its own.
  expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).not.toBe("rgba(0, 0, 0, 0)");

  // Server-sent events arrive one by one, not at the end.
  await page.waitForFunction(() => Number(document.querySelector("#count")?.textContent) >= 2);
  const first = Number(await page.textContent("#count"));
  await page.waitForFunction((seen) => Number(document.querySelector("#count")?.textContent) > seen, first);

  await page.waitForSelector("#echo-send:enabled");
  await page.fill("#echo-text", "Grüße 🏭");
  await page.press("#echo-text", "Enter");
  await page.waitForSelector("#echo-log li >> text=Grüße 🏭");

  const content = Buffer.alloc(2_500_000, "causeway ");
  await page.setInputFiles("#upload-file", { name: "big.bin", mimeType: "application/octet-stream", buffer: content });
  await page.click("#upload-form button");
  await page.waitForSelector(`#upload-result >> text=${createHash("sha256").update(content).digest("hex")}`);

  expect(complaints).toEqual([]);
  await page.close();
});

test("an unknown host shows the portal in place, for people in dark and light and on a phone", async () => {
  for (const [colorScheme, width] of [
    ["light", 1280],
    ["dark", 360],
  ] as const) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 740 } });
    const page = await context.newPage();
    const answer = await page.goto(`http://nobody.${stack.baseDomain}:${stack.edgePort}/some/page`);
    expect(answer?.status()).toBe(404);
    expect(new URL(page.url()).hostname).toBe(`nobody.${stack.baseDomain}`);
    expect(await page.textContent("main")).toContain("unknown-host");
    // Nothing is cut off: the page is no wider than the screen.
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    await page.getByRole("link", { name: "Go to the start page" }).click();
    await page.waitForURL(`http://${stack.baseDomain}:${stack.edgePort}/`);
    await context.close();
  }
});
