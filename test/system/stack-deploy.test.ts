import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { WORKERS } from "../../src/cli/workers/list.ts";

const root = join(import.meta.dirname, "../..");
const run = async (script: string, ...args: string[]) => {
  const { CLOUDFLARE_API_TOKEN: _token, CLOUDFLARE_ACCOUNT_ID: _account, ...env } = process.env;
  const child = spawn(process.execPath, [join(root, script), ...args], {
    env,
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, ...said };
};

test("a dry run builds all Workers, checks that they fit together and lists what an account needs", async () => {
  const { code, stdout, stderr } = await run("src/cli/deploy/main.ts", "--dry-run", "--json");
  expect(code, stderr).toBe(0);
  for (const { name } of WORKERS) expect(stderr).toContain(`✓ ${name} builds`);
  expect(stderr).toContain("causeway-edge needs the secrets PROOF_PRIVATE_KEY");
  // One side of the relay is always there.
  const sides = "drain of lane a, causeway-relay-a, drain of lane b, causeway-relay-b,";
  expect(stderr).toContain(`Order: causeway-relay-control, ${sides}`);
  const findings = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(findings.every(({ kind }) => kind === "missing")).toBe(true);
  expect(findings.length).toBeGreaterThan(5);
}, 180_000);

test("a real deploy refuses as long as something is missing, and says what", async () => {
  const { code, stderr } = await run("src/cli/deploy/main.ts");
  expect(code).toBe(3);
  expect(stderr).toContain("set CLOUDFLARE_API_TOKEN");
  expect(stderr).toContain("set CAUSEWAY_API_TOKEN");
  expect(stderr).toContain("Hyperdrive CONTROL_DB");
  expect(stderr).toContain("Nothing was deployed");
}, 180_000);

test("a build fills dist/ with what runs elsewhere: Workers, the command line alone, containers' contexts", async () => {
  const { code, stderr } = await run("src/cli/build/main.ts");
  expect(code, stderr).toBe(0);
  for (const { name } of WORKERS) expect(existsSync(join(root, "dist/workers", name, "worker.js")), name).toBe(true);
  for (const role of ["connector", "node-agent"]) {
    const context = join(root, "dist/container", role);
    expect(readFileSync(join(context, "Dockerfile"), "utf8")).toContain("causeway.js");
    expect(existsSync(join(context, "cli/causeway.js"))).toBe(true);
  }
  expect(existsSync(join(root, "dist/npm/causeway-connector.js"))).toBe(true);
  if (process.platform === "linux") expect(existsSync(join(root, "dist/bin/causeway-connector"))).toBe(true);
  expect((await run("dist/cli/causeway.js", "--version")).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect((await run("dist/cli/causeway.js", "connect")).code).toBe(2);
  expect((await run("dist/cli/causeway.js", "node", "run", "--config", "none.json")).code).toBe(2);
  const up = await run("dist/cli/causeway.js", "up");
  expect([up.code, up.stderr]).toEqual([4, expect.stringContaining("from a clone")]);
}, 120_000);
