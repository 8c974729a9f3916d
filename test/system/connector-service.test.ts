import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchdPlan } from "../../src/cli/service/launchd.ts";
import type { ServiceSpec } from "../../src/cli/service/plan.ts";
import { systemdPlan } from "../../src/cli/service/systemd.ts";
import { windowsPlan } from "../../src/cli/service/windows.ts";
import { createSite, type Site } from "./connector/site.ts";

// What `causeway service install` writes, as golden files, and what systemd itself says about its unit.
const golden = (name: string): string => join(import.meta.dirname, "fixtures", "service", name);
const spec: ServiceSpec = {
  name: "causeway-connector",
  program: ["/usr/bin/node", "/opt/causeway/causeway.js"],
  args: ["--config", "/etc/causeway/my connector.yaml", "--target", "demo=http://127.0.0.1:3000/100%25/$x"],
  credential: { flag: "--credentials", file: "/etc/causeway/acme.credentials.json" },
  user: null,
};

let folder: string;
let site: Site;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "causeway-service-"));
  site = createSite();
});
afterAll(async () => {
  await site.close();
  rmSync(folder, { recursive: true });
});

test("a systemd unit: hardened, the secret handed over by the manager", async () => {
  const { content, path } = systemdPlan(spec);
  expect(path).toBe("/etc/systemd/system/causeway-connector.service");
  await expect(content).toMatchFileSnapshot(golden("causeway-connector.service"));
  const named = systemdPlan({ ...spec, user: "causeway", credential: null }).content;
  expect(named).toContain("User=causeway\n");
  expect(named).not.toMatch(/DynamicUser|LoadCredential/);
});

test("a launchd job", async () => {
  const { content, path } = launchdPlan({ ...spec, user: "_causeway" });
  expect(path).toBe("/Library/LaunchDaemons/dev.causeway.causeway-connector.plist");
  await expect(content).toMatchFileSnapshot(golden("causeway-connector.plist"));
});

test("a Windows service: a script that compiles its wrapper", async () => {
  const program = ["C:\\Program Files\\Causeway\\causeway-connector.exe"];
  const file = 'C:\\ProgramData\\Causeway\\O\'Brien "x".json';
  const windows: ServiceSpec = {
    ...spec,
    program,
    args: ["--target", "ping"],
    credential: { flag: "--secret-file", file },
  };
  const { content, path } = windowsPlan(windows, "C:\\ProgramData");
  expect(path).toBe("C:\\ProgramData\\Causeway\\causeway-connector.install.ps1");
  await expect(content.replaceAll("\r\n", "\n")).toMatchFileSnapshot(golden("causeway-connector.install.ps1"));
});

const analyze = ((): string | null => {
  try {
    return execFileSync("which", ["systemd-analyze"], { encoding: "utf8" }).trim();
  } catch {
    return null;
  }
})();

test.skipIf(analyze === null)("systemd finds nothing wrong with the unit, and takes it for well protected", () => {
  mkdirSync(join(folder, "bin"));
  const program = join(folder, "bin", "connector");
  writeFileSync(program, "#!/bin/sh\n");
  chmodSync(program, 0o755);
  const unit = join(folder, "causeway-connector.service");
  writeFileSync(unit, systemdPlan({ ...spec, program: [program] }).content);
  const verify = execFileSync("systemd-analyze", ["verify", "--man=no", unit], { encoding: "utf8", stdio: "pipe" });
  expect(verify).toBe("");
  const security = execFileSync("systemd-analyze", ["security", "--offline=true", "--no-pager", unit], {
    encoding: "utf8",
    stdio: "pipe",
  });
  const level = Number(/exposure level for \S+: ([0-9.]+)/.exec(security)?.[1] ?? 10);
  expect(level).toBeLessThan(2.5);
});

test("the command prints what it would do, and changes nothing", async () => {
  const dry = site.command([
    "service",
    "install",
    "--platform",
    "systemd",
    "--dry-run",
    "--credentials",
    "/etc/c.json",
  ]);
  expect(await dry.exit).toBe(0);
  expect(dry.output()).toContain("LoadCredential=credential:/etc/c.json");
  expect(dry.output()).toContain("systemctl enable --now causeway-connector.service");
  const bare = site.command(["service", "install", "--dry-run"]);
  expect(await bare.exit).toBe(2);
  const evil = site.command(["service", "status", "--name", "../x", "--dry-run"]);
  expect(await evil.exit).toBe(2);
});
