import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

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

/** `docker compose` or `docker-compose`, as argv; null without either. */
export function composeCommand(): string[] | null {
  if (spawnSync("docker", ["compose", "version"], { stdio: "ignore" }).status === 0) return ["docker", "compose"];
  if (onPath("docker-compose") !== null) return ["docker-compose"];
  return null;
}

/** Why the compose suite can't run, or null when it can: it needs an engine, a compose client and the base images. */
export function missingForCompose(): string | null {
  if (spawnSync("docker", ["info"], { stdio: "ignore" }).status !== 0) return "No Docker engine answers";
  if (composeCommand() === null) return "No docker compose client found";
  return null;
}
