import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LIMITS } from "../../src/node-agent/limits.ts";
import { keepProcess } from "../../src/node-agent/services/kept-process.ts";
import { createProcessDriver } from "../../src/node-agent/services/process-driver.ts";
import type { ServiceDriver, ServiceInstance } from "../../src/node-agent/services/service-driver.ts";
import { processStart } from "../../src/node-agent/services/processes.ts";
import { createLogger } from "../../src/shared/log.ts";
import { until } from "../support/until.ts";

// The process driver alone, with real processes.
const NODE = join(process.cwd(), "node_modules/.bin/node");
const SERVICE = `
  const { createServer } = require("node:http");
  const { existsSync, readFileSync, readdirSync } = require("node:fs");
  createServer((request, response) => {
    if (request.url === "/secret") return response.end(readFileSync(process.env.CAUSEWAY_SECRETS_DIR + "/API_KEY"));
    if (request.url === "/env") return response.end(JSON.stringify(process.env));
    if (request.url === "/healthz" && process.env.SICK && existsSync(process.env.SICK)) response.statusCode = 500;
    response.end("ok");
  }).listen(process.env.PORT, "127.0.0.1");
`;

let dir: string;
let drivers: ServiceDriver[];
let lines: string[];
let moved: string[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "cw-services-"));
  writeFileSync(join(dir, "service.cjs"), SERVICE);
  drivers = [];
  lines = [];
  moved = [];
});

afterEach(async () => {
  // The newest first: an older one has let go of its processes, and would take away the records by which the newest knows them.
  for (const driver of drivers.toReversed()) await driver.endStrays(new Set());
});

function newDriver(env: Record<string, string> = {}): ServiceDriver {
  const driver = createProcessDriver({
    dir: join(dir, "services"),
    node: "walter-white",
    catalogue: new Map([
      ["good", { argv: [NODE, join(dir, "service.cjs")], env }],
      ["broken", { argv: [NODE, "-e", "process.exit(3)"], env: {} }],
      ["missing", { argv: [join(dir, "no-such-program")], env: {} }],
    ]),
    ports: { from: LIMITS.servicePortFrom, to: LIMITS.servicePortTo },
    random: Math.random,
    log: createLogger("test", (line) => lines.push(line)),
    onMoved: (tenantId) => moved.push(tenantId),
  });
  drivers.push(driver);
  return driver;
}

const app: ServiceInstance = {
  tenantId: "ten_a",
  slug: "a",
  workspace: "main",
  service: "app",
  driver: { kind: "process", command: "good" },
  protocol: "http",
  healthPath: "/healthz",
  secrets: { API_KEY: "sesame" },
};
const bound = (ms = 10_000): AbortSignal => AbortSignal.timeout(ms);
const up = async (driver: ServiceDriver, instance: ServiceInstance): Promise<number> => {
  const ensured = await driver.ensure(instance);
  if (!ensured.ok) throw new Error(ensured.error);
  const healthy = await driver.healthy(instance, bound());
  if (!healthy.ok) throw new Error(healthy.error);
  return ensured.value.port;
};
const text = async (port: number, path: string): Promise<string> =>
  (await fetch(`http://127.0.0.1:${port}${path}`)).text();

/** Takes the port of a process that was just killed, as soon as the system has let go of it (a little after the process is gone). */
async function squat(port: number): Promise<Server> {
  return await until("the squatter has the port", async () => {
    const squatter = createServer((_request, response) => response.end("squatter")).listen(port, "127.0.0.1");
    return await new Promise<Server | null>((resolve) => {
      squatter.once("listening", () => resolve(squatter)).once("error", () => resolve(null));
    });
  });
}

describe("a service", () => {
  test("knows who it is, finds its secrets in files of its own, and sees nothing of the agent's environment", async () => {
    process.env["AGENT_SECRET"] = "not yours";
    const driver = newDriver();
    const port = await up(driver, app);
    const env = JSON.parse(await text(port, "/env"));
    expect(env).toMatchObject({
      PORT: String(port),
      CAUSEWAY_TENANT: "a",
      CAUSEWAY_TENANT_ID: "ten_a",
      CAUSEWAY_WORKSPACE: "main",
      CAUSEWAY_SERVICE: "app",
      CAUSEWAY_NODE: "walter-white",
    });
    expect(JSON.stringify(env)).not.toContain("sesame");
    expect(env).not.toHaveProperty("AGENT_SECRET");
    expect(await text(port, "/secret")).toBe("sesame");
    expect(statSync(join(env.CAUSEWAY_SECRETS_DIR, "API_KEY")).mode & 0o777).toBe(0o600);
    expect(statSync(env.CAUSEWAY_SECRETS_DIR).mode & 0o777).toBe(0o700);
    expect(lines.join()).not.toContain("sesame");
  });

  test("is one process per tenant, workspace and service (H43)", async () => {
    const driver = newDriver();
    const ports = [
      await up(driver, app),
      await up(driver, { ...app, tenantId: "ten_b", slug: "b" }),
      await up(driver, { ...app, workspace: "second" }),
      await up(driver, { ...app, service: "manager" }),
    ];
    expect(new Set(ports).size).toBe(4);
    expect(new Set(driver.running().map(({ pid }) => pid)).size).toBe(4);
    expect(await up(driver, app)).toBe(ports[0]);
    await driver.keepOnly("ten_a", [app]);
    expect(
      driver
        .running()
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(["ten_a/main/app", "ten_b/main/app"]);
  });

  test("is adopted by the next driver with its port; strays are ended", async () => {
    const first = newDriver();
    const port = await up(first, app);
    const strayPort = await up(first, { ...app, tenantId: "ten_gone", slug: "gone" });
    const pid = first.running()[0]?.pid;
    await first.close(false);
    const second = newDriver();
    expect(await up(second, app)).toBe(port);
    expect(second.running()[0]?.pid).toBe(pid);
    await second.endStrays(new Set(["ten_a"]));
    await expect(text(strayPort, "/")).rejects.toThrow("fetch failed");
    expect(readdirSync(join(dir, "services"))).toEqual(["ten_a"]);
    expect(await text(port, "/")).toBe("ok");
  });

  test("that died while no agent looked is started on its old port, not mistaken for another process with its pid", async () => {
    const first = newDriver();
    const port = await up(first, app);
    const pid = first.running()[0]?.pid ?? 0;
    await first.close(false);
    process.kill(pid, "SIGKILL");
    await until("it is dead", () => processStart(pid) === null);
    const record = readdirSync(join(dir, "services"), { recursive: true })
      .map(String)
      .find((name) => name.endsWith("process.json"));
    // The pid now belongs to somebody else: this test.
    writeFileSync(join(dir, "services", record ?? ""), JSON.stringify({ pid: process.pid, startedAt: "another time" }));
    const second = newDriver();
    expect(await up(second, app)).toBe(port);
    expect(second.running()[0]?.pid).not.toBe(process.pid);
  });

  test("moves when its port was taken while it was down, and says so", async () => {
    const first = newDriver();
    const port = await up(first, app);
    const pid = first.running()[0]?.pid ?? 0;
    await first.close(false);
    process.kill(pid, "SIGKILL");
    const squatter = await squat(port);
    const second = newDriver();
    const other = await up(second, app);
    expect(other).not.toBe(port);
    expect(await text(other, "/")).toBe("ok");
    squatter.close();
  });

  test("that moves while it is looked after is reported, so that Envoy learns of it", async () => {
    const driver = newDriver();
    const port = await up(driver, app);
    const pid = driver.running()[0]?.pid ?? 0;
    process.kill(pid, "SIGKILL");
    const squatter = await squat(port);
    await until("it moved", () => moved.includes("ten_a"));
    expect(driver.running()[0]?.port).not.toBe(port);
    expect((await driver.healthy(app, bound())).ok).toBe(true);
    squatter.close();
  });

  test("with other secrets is another process beside the old one until the old one is let go (H33)", async () => {
    const driver = newDriver();
    const port = await up(driver, app);
    const renewed = { ...app, secrets: { API_KEY: "open" } };
    const other = await up(driver, renewed);
    expect([await text(port, "/secret"), await text(other, "/secret")]).toEqual(["sesame", "open"]);
    await driver.keepOnly("ten_a", [renewed]);
    await expect(text(port, "/")).rejects.toThrow("fetch failed");
    expect(await text(other, "/secret")).toBe("open");
  });

  test("is healthy only when it says so", async () => {
    const sick = join(dir, "sick");
    writeFileSync(sick, "");
    const driver = newDriver({ SICK: sick });
    await driver.ensure(app);
    expect(await driver.healthy(app, bound(1_500))).toEqual({
      ok: false,
      error: "service app did not become healthy: /healthz answered 500",
    });
    const waiting = driver.healthy(app, bound());
    const { rmSync } = await import("node:fs");
    rmSync(sick);
    expect(await waiting).toMatchObject({ ok: true });
  });

  test.each(["broken", "missing"])(
    "that can't run (%s) is tried again with growing pauses, not in a tight loop",
    async (command) => {
      const driver = newDriver();
      const instance = { ...app, driver: { kind: "process" as const, command } };
      await driver.ensure(instance);
      const health = await driver.healthy(instance, bound(2_500));
      expect(health).toMatchObject({ ok: false });
      const tries = lines.filter((line) => /process started|could not be started/.test(line)).length;
      expect(tries).toBeGreaterThanOrEqual(2);
      expect(tries).toBeLessThan(8);
    },
  );

  test("whose command is not in the catalogue is refused", async () => {
    expect(await newDriver().ensure({ ...app, driver: { kind: "process", command: "rm" } })).toEqual({
      ok: false,
      error: 'this node\'s catalogue has no command "rm"',
    });
  });
});

test("a kept process's log is bounded while it writes", async () => {
  const home = join(dir, "loud");
  const script = join(dir, "loud.sh");
  writeFileSync(script, "#!/bin/sh\nexec yes 0123456789012345678901234567890123456789\n");
  chmodSync(script, 0o755);
  const kept = await keepProcess({
    dir: home,
    command: async () => ({ argv: [script], env: { PATH: process.env["PATH"] ?? "" } }),
    log: createLogger("test", () => {}),
  });
  await until("the log was turned over", () => existsSync(join(home, "output.log.1")));
  await kept.stop();
  expect(readFileSync(join(home, "output.log")).length).toBeLessThan(
    readFileSync(join(home, "output.log.1")).length * 50,
  );
  expect(kept.pid() === null || processStart(kept.pid() ?? 0) === null).toBe(true);
});

test("a process that can't even be asked to start is tried again with growing pauses", async () => {
  let tries = 0;
  const kept = await keepProcess({
    dir: join(dir, "never"),
    command: () => Promise.reject(new Error(`no port is free, for the ${++tries}. time`)),
    log: createLogger("test", (line) => lines.push(line)),
  });
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await kept.stop();
  expect(tries).toBeGreaterThanOrEqual(2);
  expect(tries).toBeLessThan(8);
});
