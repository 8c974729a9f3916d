import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { writeConnectorExecutable, writeConnectorPackage } from "../../src/cli/build/connector.ts";
import { until } from "../support/until.ts";
import { startTestRelay, type TestRelay } from "./connector/relay.ts";
import { createSite, type Site } from "./connector/site.ts";

// What `npm run build` makes of the connector for sites: it runs where nothing of ours is installed.
let folder: string;
let relay: TestRelay;
let site: Site;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "causeway-build-"));
  site = createSite();
  relay = await startTestRelay({ key: site.publicKey });
});
afterAll(async () => {
  await site.close();
  await relay.stop();
  rmSync(folder, { recursive: true });
});

/** Connects, serves a web target, and drains on SIGTERM. */
async function servesAndDrains(program: string, before: readonly string[], instance: string): Promise<void> {
  const target = await site.target((_request, response) => void response.end("from the site"));
  const named = ["--credentials", site.credentials, "--url", relay.url, "--instance", instance];
  const args = [...before, "connect", ...named, "--target", `web=${target}`];
  const child = spawn(program, args, { cwd: folder, env: {}, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const exit = new Promise((resolve) => child.once("close", resolve));
  try {
    const link = await relay.link("a", { instanceId: instance });
    expect(await link.open({ target: "web" }).text()).toBe("from the site");
    await until("its audit line", () => said.includes('"msg":"request"'));
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
  } finally {
    child.kill("SIGKILL");
  }
}

test("the npm package is one file with its manifest", async () => {
  await writeConnectorPackage(folder);
  const manifest = z
    .object({ name: z.string(), version: z.string(), bin: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(join(folder, "package.json"), "utf8")));
  const file = join(folder, manifest.bin["causeway-connector"] ?? "?");
  const version = spawnSync(process.execPath, [file, "--version"], { encoding: "utf8" });
  expect([version.stdout, version.stderr]).toEqual([`${manifest.version}\n`, ""]);
  await servesAndDrains(process.execPath, [file], "from-npm");
}, 30_000);

test.skipIf(process.platform === "darwin")(
  "the single executable connects, serves and drains, and installs itself as a service",
  async () => {
    const out = join(folder, "bin");
    const made = await writeConnectorExecutable(out);
    if (!("file" in made)) throw new Error(made.skipped);
    expect(existsSync(join(out, "connector.blob"))).toBe(false);
    await servesAndDrains(made.file, [], "from-executable");
    const flags = ["service", "install", "--dry-run", "--platform", "systemd", "--credentials", "/etc/x.json"];
    const dry = spawnSync(made.file, flags, { encoding: "utf8" });
    expect(dry.stdout).toContain(`ExecStart=${made.file} connect --credentials %d/credential`);
    expect(dry.stderr).not.toContain("Warning");
  },
  60_000,
);
