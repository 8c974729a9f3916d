import { existsSync, renameSync } from "node:fs";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { demoTenant, externalTenant, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";

let host: ChannelHost;
let node: TestNode;
let port: number;

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  [port = 0] = await freePorts(1);
  node = await startTestNode(host, key, { config: { servicePorts: { from: port, to: port } } });
});
afterAll(async () => {
  await node.stop();
  await host.close();
  await stopChildren();
});

test("a service that could not be started is tried again until it can be, and its tenant is served then", async () => {
  const thief = createServer().listen(port, "127.0.0.1");
  await once(thief, "listening");
  const tenant = demoTenant("ten_acme", 1, { routes: [{ prefix: "/app", service: "app" }] });
  const services = tenant.services.filter(({ name }) => name === "app");
  const channel = host.channel(node.nodeId);
  await channel.push({ kind: "put", tenant: { ...tenant, services } });
  expect(await channel.waitSettled("ten_acme", 1, 20_000)).toMatchObject({ state: "rejected" });
  thief.close();
  await until("it is live", async () => (await channel.status("ten_acme"))?.state === "live");
  expect((await node.ask("ten_acme", "acme.causeway.localhost", "/app")).status).toBe(200);
});

test("a change that the node's disk has no room for is refused with the reason, and taken once it has", async () => {
  const channel = host.channel(node.nodeId);
  const tenants = join(node.dir, "state/store/tenants");
  const empty = { routes: [], services: [] };
  await channel.push({ kind: "put", tenant: demoTenant("ten_leaves", 1, empty) });
  expect(await channel.waitSettled("ten_leaves", 1, 20_000)).toMatchObject({ state: "live" });
  renameSync(tenants, `${tenants}.away`); // Every write fails, as on a full disk.
  await channel.push({ kind: "put", tenant: demoTenant("ten_globex", 1, empty) });
  await until("it is said", async () => (await channel.status("ten_globex"))?.state === "rejected");
  expect((await channel.status("ten_globex"))?.reason).toMatch(/^the node can't keep it on its disk: ENOENT/);
  await channel.push({ kind: "remove", tenantId: "ten_leaves", revision: 2 });
  renameSync(`${tenants}.away`, tenants);
  await until("it is live", async () => (await channel.status("ten_globex"))?.state === "live");
  await until("the other one is gone", async () => (await node.status()).tenants.gone === 1);
  await node.end("SIGKILL");
  await node.start();
  expect((await node.ask("ten_globex", "globex.causeway.localhost", "/app")).status).toBe(404); // Known, without routes.
  expect(existsSync(join(tenants, "ten_globex.json"))).toBe(true);
});

test("a name with addresses of both kinds is asked by IPv4, which is all that most networks and loopback servers have", async () => {
  const server = createHttpServer((_, response) => response.end("here"));
  const outside = await listenOnLoopback(server);
  const driver = { kind: "external" as const, address: "localhost", port: outside };
  const services = [{ name: "app", workspace: "main", driver, healthPath: null, secrets: {} }];
  const channel = host.channel(node.nodeId);
  await channel.push({ kind: "put", tenant: externalTenant("ten_named", 1, outside, { services }) });
  await channel.waitSettled("ten_named", 1, 20_000);
  await until(
    "it answers",
    async () => (await node.ask("ten_named", "named.causeway.localhost", "/app")).body === "here",
  );
  server.close();
});
