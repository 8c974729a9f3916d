import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { startLoad } from "../support/load.ts";
import { demoTenant, externalTenant, get, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";

// One node (real agent, Envoy and services) on a real node channel: tenants come, change, fail and go while others are served.
let host: ChannelHost;
let node: TestNode;
let outside: Server;
let outsidePort: number;

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  node = await startTestNode(host, key);
  outside = createServer((_request, response) => response.end("outside")).listen(0, "127.0.0.1");
  await new Promise((resolve) => outside.once("listening", resolve));
  const address = outside.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  outsidePort = address.port;
});

afterAll(async () => {
  outside.close();
  outside.closeAllConnections();
  await node.stop();
  await host.close();
  await stopChildren();
});

const ACME = "ten_acme";
const ACME_HOST = "acme.causeway.localhost";
const GLOBEX = "ten_globex";
const GLOBEX_HOST = "globex.causeway.localhost";

const push = async (tenant: ReturnType<typeof demoTenant>) => {
  const channel = host.channel(node.nodeId);
  await channel.push({ kind: "put", tenant });
  return await channel.waitSettled(tenant.tenantId, tenant.revision, 30_000);
};
const stat = async (name: string): Promise<number> => {
  const response = await fetch(`${node.adminUrl}/stats?filter=^${name}$`);
  return Number(/: (\d+)/.exec(await response.text())?.[1] ?? 0);
};
const pidOf = async (service: string): Promise<number | null> =>
  (await node.status()).services.find(({ name }) => name === service)?.pid ?? null;

test("a tenant's three services are started and reached by their prefixes (H30, H43, E02)", async () => {
  expect(await push(demoTenant(ACME, 1))).toEqual({ tenantId: ACME, revision: 1, state: "live", reason: null });
  for (const service of ["app", "connectors", "manager"]) {
    const answer = await node.ask(ACME, ACME_HOST, `/${service}/x?y=1`);
    expect(JSON.parse(answer.body)).toMatchObject({
      service,
      tenant: "acme",
      node: "walter-white",
      host: ACME_HOST,
      path: `/${service}/x?y=1`,
    });
  }
  const pids = new Set((await node.status()).services.map(({ pid }) => pid));
  expect(pids.size).toBe(3);
});

test("another tenant is added without a restart of Envoy and without an error for the first (H34)", async () => {
  const before = await stat("server.uptime");
  const restarts = (await node.status()).envoy.pid;
  const load = startLoad(
    () => node.ask(ACME, ACME_HOST, "/app"),
    (body) => body.includes('"tenant":"acme"'),
  );
  expect(await push(demoTenant(GLOBEX, 1))).toMatchObject({ state: "live" });
  expect(JSON.parse((await node.ask(GLOBEX, GLOBEX_HOST, "/manager")).body)).toMatchObject({
    tenant: "globex",
    service: "manager",
  });
  await until("some load", () => load.requests() > 50);
  expect((await load.stop()).failures).toEqual([]);
  expect((await node.status()).envoy.pid).toBe(restarts);
  expect(await stat("server.uptime")).toBeGreaterThanOrEqual(before);
});

test.each([
  ["/app-frontend", 404],
  ["/managerx", 404],
  ["/app", 200],
  ["/app/", 200],
  ["/app?x", 200],
  ["/", 404],
])("prefixes match whole segments: %s is %i (H31, H32)", async (path, status) => {
  expect((await node.ask(ACME, ACME_HOST, path)).status).toBe(status);
});

test("a host that the node does not hold, and a proof for another node, are refused (H40)", async () => {
  const stranger = await node.ask("ten_other", "other.causeway.localhost", "/app");
  expect([stranger.status, stranger.headers["causeway-error"]]).toEqual([404, "unknown-host"]);
  const proof = await node.proofFor(ACME, ACME_HOST, "nod_another");
  expect((await get(`${node.url}/app`, { "causeway-proof": proof, host: ACME_HOST })).status).toBe(403);
  expect((await get(`${node.url}/app`, { host: ACME_HOST })).status).toBe(401);
});

describe("what can't be served is rejected with a reason, and what was served before stays (H36, E04)", () => {
  test.each([
    [
      "by Envoy as a whole",
      { routes: [{ prefix: "/app?x", service: "app" }] },
      /PathSeparatedPrefix|path_separated_prefix/i,
    ],
    [
      "by Envoy in a cluster",
      {
        routes: [{ prefix: "/app", service: "ext" }],
        services: [
          {
            name: "ext",
            workspace: "main",
            driver: { kind: "external" as const, address: "300.1.1.1", port: 1 },
            healthPath: null,
            secrets: {},
          },
        ],
      },
      /malformed IP address/,
    ],
    ["by the agent", { routes: [{ prefix: "/app", service: "nothing" }] }, /names service nothing/],
    ["because of another tenant's host", { hosts: [ACME_HOST] }, /belongs to another tenant/],
    [
      "by the driver",
      {
        services: [
          {
            name: "app",
            workspace: "main",
            driver: { kind: "process" as const, command: "rm" },
            healthPath: null,
            secrets: {},
          },
        ],
        routes: [{ prefix: "/app", service: "app" }],
      },
      /no command "rm"/,
    ],
  ])("%s", async (_by, change, reason) => {
    const status = await host.channel(node.nodeId).status(GLOBEX);
    const revision = (status?.revision ?? 1) + 1;
    const load = startLoad(
      () => node.ask(ACME, ACME_HOST, "/app"),
      (body) => body.includes('"tenant":"acme"'),
      2,
    );
    const settled = await push(demoTenant(GLOBEX, revision, change));
    expect(settled).toMatchObject({ revision, state: "rejected" });
    expect(settled?.reason).toMatch(reason);
    for (const service of ["app", "connectors", "manager"]) {
      expect(JSON.parse((await node.ask(GLOBEX, GLOBEX_HOST, `/${service}`)).body)).toMatchObject({
        tenant: "globex",
        service,
      });
    }
    expect((await load.stop()).failures).toEqual([]);
  });

  test("and what Envoy rejected is never sent again, also not by the next agent", async () => {
    const revision = ((await host.channel(node.nodeId).status(GLOBEX))?.revision ?? 1) + 1;
    const bad = demoTenant(GLOBEX, revision, { routes: [{ prefix: "/app?x", service: "app" }] });
    expect(await push(bad)).toMatchObject({ state: "rejected" });
    const scoped = "http.*scoped_rds.tenants.update_rejected";
    const before = await stat(scoped);
    expect(before).toBeGreaterThan(0);
    await node.end("SIGKILL");
    await node.start();
    await until("the channel is back", async () => (await node.status()).channel === "online");
    expect(await push(externalTenant("ten_after", 1, outsidePort))).toMatchObject({ state: "live" });
    expect(await stat(scoped)).toBe(before);
    expect(await host.channel(node.nodeId).status(GLOBEX)).toMatchObject({ revision, state: "rejected" });
  });

  test("until a good revision comes", async () => {
    const revision = ((await host.channel(node.nodeId).status(GLOBEX))?.revision ?? 1) + 1;
    expect(await push(demoTenant(GLOBEX, revision))).toMatchObject({ revision, state: "live" });
  });
});

test("a service in another form replaces the old one without an error, behind the same address of the node (H33)", async () => {
  const [app, manager] = [await pidOf(`${ACME}/main/app`), await pidOf(`${ACME}/main/manager`)];
  const load = startLoad(
    () => node.ask(ACME, ACME_HOST, "/app"),
    (body) => body.includes('"service":"app"'),
  );
  const revision = 2;
  const services = demoTenant(ACME, revision).services.map((service) =>
    service.name === "app" ? { ...service, secrets: { API_KEY: "a new secret" } } : service,
  );
  expect(await push(demoTenant(ACME, revision, { services }))).toMatchObject({ revision, state: "live" });
  await until("the old one is gone", async () => {
    const apps = (await node.status()).services.filter(({ name }) => name === `${ACME}/main/app`);
    return apps.length === 1 && apps[0]?.pid !== app;
  });
  await until("some load", () => load.requests() > 50);
  expect((await load.stop()).failures).toEqual([]);
  expect(await pidOf(`${ACME}/main/manager`)).toBe(manager);
  expect(node.log()).not.toContain("a new secret");
});

test("among many tenants a change costs one cluster and one scope (E01)", async () => {
  const count = 40;
  const channel = host.channel(node.nodeId);
  const many = Array.from({ length: count }, (_, index) => `ten_many${index}`);
  for (const tenantId of many) await channel.push({ kind: "put", tenant: externalTenant(tenantId, 1, outsidePort) });
  for (const tenantId of many) expect(await channel.waitSettled(tenantId, 1, 30_000)).toMatchObject({ state: "live" });
  const names = [
    "cluster_manager.cluster_added",
    "cluster_manager.cluster_modified",
    "cluster_manager.cluster_removed",
  ];
  const before = await Promise.all(names.map(stat));
  const [updates, scopes] = [
    await stat("cluster_manager.cds.update_success"),
    await stat("http.*scoped_rds.tenants.update_success"),
  ];
  const changed = externalTenant("ten_many7", 2, outsidePort, {
    services: [
      {
        name: "app",
        workspace: "main",
        driver: { kind: "external", address: "127.0.0.2", port: outsidePort },
        healthPath: null,
        secrets: {},
      },
    ],
  });
  expect(await push(changed)).toMatchObject({ state: "live" });
  await until(
    "the old cluster is gone",
    async () => (await stat("cluster_manager.cluster_removed")) > (before[2] ?? 0),
  );
  const after = await Promise.all(names.map(stat));
  expect(after.map((value, index) => value - (before[index] ?? 0))).toEqual([1, 0, 1]);
  expect((await stat("cluster_manager.cds.update_success")) - updates).toBe(2);
  expect((await stat("http.*scoped_rds.tenants.update_success")) - scopes).toBe(1);
});

test("a removed tenant's services end and its host is unknown; the others are served", async () => {
  const channel = host.channel(node.nodeId);
  const load = startLoad(
    () => node.ask(ACME, ACME_HOST, "/app"),
    (body) => body.includes('"tenant":"acme"'),
    2,
  );
  await channel.push({ kind: "remove", tenantId: GLOBEX, revision: 100 });
  expect(await channel.waitSettled(GLOBEX, 100, 20_000)).toBeNull();
  const answer = await node.ask(GLOBEX, GLOBEX_HOST, "/app");
  expect([answer.status, answer.headers["causeway-error"]]).toEqual([404, "unknown-host"]);
  expect((await node.status()).services.filter(({ name }) => name.startsWith(`${GLOBEX}/`))).toEqual([]);
  expect((await load.stop()).failures).toEqual([]);
});
