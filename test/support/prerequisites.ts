import { spawnSync } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { composeCommand, engineAnswers } from "../../src/cli/local/compose-client.ts";

const BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

function onPath(name: string): string | null {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const file = join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not here
    }
  }
  return null;
}

/** CHROMIUM_BIN, or the first Chromium or Chrome on PATH. */
export function browserPath(): string | null {
  const named = process.env["CHROMIUM_BIN"];
  if (named !== undefined && named !== "") return named;
  for (const name of BROWSERS) {
    const file = onPath(name);
    if (file !== null) return file;
  }
  return null;
}

/** What to do so that the browser suite can run, or null when it can. */
export function missingForBrowser(): string | null {
  if (browserPath() !== null) return null;
  return "No Chromium or Chrome found. Install one (Debian, Ubuntu: sudo apt-get install chromium) or set CHROMIUM_BIN.";
}

/** Base images of the compose project: the defaults in the compose file, or those that the environment names. */
export function baseImages(): string[] {
  const text = readFileSync("local-stack/compose.yaml", "utf8");
  const found = [...text.matchAll(/\$\{(CAUSEWAY_[A-Z]+_IMAGE):-([^}]+)\}/g)];
  return [...new Set(found.map(([, name = "", image = ""]) => process.env[name] ?? image))];
}

/** A pull of a base image takes a minute on a slow line; a registry that can't be reached often just never answers. */
const PULL_TIMEOUT_MS = 180_000;

const docker = (...args: string[]) => spawnSync("docker", args, { stdio: "ignore", timeout: PULL_TIMEOUT_MS }).status;

/** Why the compose suite can't run, or null when it can: it needs an engine, a compose client and the base images (pulled if it can). */
export function missingForCompose(): string | null {
  if (!engineAnswers()) return "No Docker engine answers";
  if (composeCommand() === null) return "No docker compose client found";
  const missing = baseImages().find((image) => docker("image", "inspect", image) !== 0 && docker("pull", image) !== 0);
  return missing === undefined ? null : `The image ${missing} is not here and can't be pulled`;
}
