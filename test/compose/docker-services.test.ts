import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import type { CatalogueImage } from "../../src/node-agent/services/docker/container-spec.ts";
import { createDockerDriver } from "../../src/node-agent/services/docker/docker-driver.ts";
import { createEngine } from "../../src/node-agent/services/docker/engine.ts";
import type { ServiceDriver, ServiceInstance } from "../../src/node-agent/services/service-driver.ts";
import { createLogger } from "../../src/shared/log.ts";
import { baseImages } from "../support/prerequisites.ts";
import { until } from "../support/until.ts";

// The docker driver alone, with a real engine.
const SOCKET = process.env["DOCKER_HOST"]?.replace(/^unix:\/\//, "") ?? "/var/run/docker.sock";
const NODE_IMAGE = baseImages().find((image) => /(?:^|\/)node:/.test(image)) ?? "node:24-bookworm-slim";
const NODE_ID = `nod_test${process.pid}`;
const SERVICE = `
  const { createServer } = require("node:http");
  const { appendFileSync, readFileSync, existsSync } = require("node:fs");
  const attempt = (work) => { try { return String(work()); } catch (error) { return error.code; } };
  const answers = {
    "/": () => "ok",
    "/id": () => process.getuid() + ":" + process.getgid(),
    "/secret": () => attempt(() => readFileSync(process.env.CAUSEWAY_SECRETS_DIR + "/API_KEY")),
    "/write": () => attempt(() => appendFileSync(process.env.CAUSEWAY_SECRETS_DIR + "/API_KEY", "x")),
    "/root": () => attempt(() => appendFileSync("/there", "x")),
    "/engine": () => String(existsSync("/var/run/docker.sock")),
    "/keep": () => attempt(() => appendFileSync("/data/kept", "x")),
    "/kept": () => attempt(() => readFileSync("/data/kept")),
    "/env": () => JSON.stringify(process.env),
    "/die": () => process.exit(1),
  };
  createServer((request, response) => {
    if (request.url === "/healthz") response.statusCode = process.env.SICK ? 500 : 200;
    response.end((answers[request.url] ?? (() => ""))());
  }).listen(Number(process.env.PORT));
  process.on("SIGTERM", () => process.exit(0));
`;

const entry: CatalogueImage = {
  image: NODE_IMAGE,
  port: 8080,
  command: ["node", "-e", SERVICE],
  env: {},
  user: "10001:10001",
  memoryMib: 128,
  cpus: 1,
  processes: 64,
  readOnly: true,
  pull: "never",
};
const app: ServiceInstance = {
  tenantId: "ten_a",
  slug: "acme",
  workspace: "main",
  service: "app",
  driver: { kind: "docker", image: "web" },
  protocol: "http",
  healthPath: "/healthz",
  secrets: { API_KEY: "s3cret" },
};

let dir: string;
let drivers: ServiceDriver[];
let lines: string[];
let moved: string[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "cw-containers-"));
  drivers = [];
  lines = [];
  moved = [];
});
afterEach(async () => {
  for (const driver of drivers) await driver.close(true);
  expect(containers()).toEqual([]);
  rmSync(dir, { recursive: true, force: true });
});

function newDriver(images: Record<string, CatalogueImage> = {}, socketPath = SOCKET): ServiceDriver {
  const driver = createDockerDriver({
    engine: createEngine(socketPath),
    dir,
    dirOnHost: dir,
    nodeId: NODE_ID,
    node: "walter",
    catalogue: new Map(Object.entries({ web: entry, ...images })),
    network: null,
    ports: { from: 21_000, to: 30_999 },
    loginFor: () => Promise.resolve(null),
    random: Math.random,
    log: createLogger("test", (line) => lines.push(line)),
    onMoved: (tenantId) => moved.push(tenantId),
  });
  drivers.push(driver);
  return driver;
}

const docker = (...args: string[]) => execFileSync("docker", args, { encoding: "utf8" });
const containers = (): string[] =>
  docker("ps", "--all", "--quiet", "--no-trunc", "--filter", `label=causeway.node=${NODE_ID}`)
    .split("\n")
    .filter((line) => line !== "");
const text = async (port: number, path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).text();

async function up(driver: ServiceDriver, instance: ServiceInstance): Promise<number> {
  const endpoint = await driver.ensure(instance);
  if (!endpoint.ok) throw new Error(endpoint.error);
  const health = await driver.healthy(instance, AbortSignal.timeout(30_000));
  if (!health.ok) throw new Error(health.error);
  return endpoint.value.port;
}

test("a service is a container with its secrets, its user and nothing else", async () => {
  const driver = newDriver();
  const [first, second] = await Promise.all([up(driver, app), up(driver, app)]);
  expect(second).toBe(first);
  expect(containers()).toHaveLength(1);
  expect(await text(first, "/id")).toBe("10001:10001");
  expect(await text(first, "/secret")).toBe("s3cret");
  expect(await text(first, "/write")).toBe("EROFS");
  expect(await text(first, "/root")).toBe("EROFS");
  expect(await text(first, "/engine")).toBe("false");
  const env = z.record(z.string(), z.string()).parse(JSON.parse(await text(first, "/env")));
  expect(env).toMatchObject({ CAUSEWAY_TENANT: "acme", CAUSEWAY_NODE: "walter", PORT: "8080" });
  expect(JSON.stringify(env) + docker("inspect", ...containers())).not.toContain("s3cret");
  expect(driver.running()).toEqual([{ name: "ten_a/main/app", pid: null, port: first }]);
});

test("the next agent adopts it as it is, and ends those of tenants that are gone", async () => {
  const first = newDriver();
  const port = await up(first, app);
  await up(first, { ...app, tenantId: "ten_gone", slug: "gone" });
  const [id] = ofTenant("ten_a");
  await first.close(false);
  drivers = [];
  const second = newDriver();
  expect(await up(second, app)).toBe(port);
  await second.endStrays(new Set(["ten_a"]));
  expect(containers()).toEqual([id]);
  expect(readdirSync(join(dir, "ten_gone", "main", "app"))).toEqual([]);
  expect(await text(port, "/")).toBe("ok");
});

const ofTenant = (tenantId: string): string[] =>
  docker(
    "ps",
    "--quiet",
    "--no-trunc",
    "--filter",
    `label=causeway.node=${NODE_ID}`,
    "--filter",
    `label=causeway.tenant=${tenantId}`,
  )
    .split("\n")
    .filter((line) => line !== "");

test("one that was stopped or removed by hand, or dies, is back on its port", async () => {
  const driver = newDriver();
  const port = await up(driver, app);
  const answers = () =>
    text(port, "/").then(
      (answer) => answer === "ok",
      () => false,
    );
  for (const harm of [
    ["stop", "--time", "0"],
    ["rm", "--force"],
  ]) {
    docker(...harm, ...containers());
    await until(`it is back after docker ${harm[0]}`, answers);
  }
  await text(port, "/die").catch(() => undefined);
  await until("it is back after its death", answers);
  expect(containers()).toHaveLength(1);
  expect(moved).toEqual([]);
});

test("it moves when its port was taken meanwhile, and says so", async () => {
  const driver = newDriver();
  const port = await up(driver, app);
  docker("rm", "--force", ...containers());
  const thief = createServer().listen(port, "127.0.0.1");
  await once(thief, "listening");
  try {
    await until("it moved", () => moved.includes("ten_a"));
    const [running] = driver.running();
    expect(running?.port).not.toBe(port);
    expect(await up(driver, app)).toBe(running?.port);
    expect(await text(running?.port ?? 0, "/")).toBe("ok");
  } finally {
    thief.close();
  }
});

test("new secrets make another beside the first, which goes when only the new one is kept; its data stays", async () => {
  const volume = "causeway-ten_a-main-app";
  const keeping = { ...entry, user: "0:0", data: "/data" };
  const driver = newDriver({ web: keeping });
  const port = await up(driver, app);
  expect(await text(port, "/keep")).toBe("undefined");
  const changed = { ...app, secrets: { API_KEY: "another" } };
  const other = await up(driver, changed);
  expect(await text(port, "/secret")).toBe("s3cret");
  expect(await text(other, "/secret")).toBe("another");
  await driver.keepOnly("ten_a", [changed]);
  await expect(text(port, "/")).rejects.toThrow("fetch failed");
  expect(await text(other, "/kept")).toBe("x");
  await driver.keepOnly("ten_a", []);
  expect(containers()).toEqual([]);
  expect(docker("volume", "ls", "--quiet")).toContain(volume);
  docker("volume", "rm", volume);
});

test("what can't run says why: no entry, no image, no health, no engine", async () => {
  const driver = newDriver({
    absent: { ...entry, image: "causeway-absent:1" },
    sick: { ...entry, env: { SICK: "1" } },
  });
  const run = (image: string): ServiceInstance => ({ ...app, driver: { kind: "docker", image } });
  expect(await driver.ensure(run("rm"))).toEqual({ ok: false, error: 'this node\'s catalogue has no image "rm"' });
  expect(await driver.ensure(run("absent"))).toEqual({
    ok: false,
    error: "service app: image causeway-absent:1 is not on this machine",
  });
  expect(await driver.ensure(run("sick"))).toMatchObject({ ok: true });
  expect(await driver.healthy(run("sick"), AbortSignal.timeout(5_000))).toEqual({
    ok: false,
    error: "service app did not become healthy: /healthz answered 500",
  });
  const nowhere = newDriver({}, join(dir, "no.sock"));
  expect(await nowhere.ensure(app)).toEqual({
    ok: false,
    error: "service app: the engine does not answer: ENOENT",
  });
});
