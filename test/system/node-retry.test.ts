import { once } from "node:events";
import { createServer } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { demoTenant, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
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
