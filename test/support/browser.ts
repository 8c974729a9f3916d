import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { browserPath, missingForBrowser } from "./prerequisites.ts";

/** Headless Chromium that speaks to nobody but the pages it is sent to. Close it with `close`. */
export async function openBrowser(): Promise<{ browser: Browser; close(): Promise<void> }> {
  const executablePath = browserPath();
  if (executablePath === null) throw new Error(missingForBrowser() ?? "no browser");
  const home = mkdtempSync(join(tmpdir(), "causeway-browser-"));
  const browser = await chromium.launch({
    executablePath,
    env: { ...process.env, HOME: home },
    args: [
      // Containers and root have no user namespaces for Chromium's sandbox; the pages are our own.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-dev-shm-usage",
    ],
  });
  return {
    browser,
    close: async () => {
      await browser.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}
