import { createServer, type Server } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { nodeCredentials } from "../../src/node-agent/config.ts";
import { openStore } from "../../src/node-agent/store.ts";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { demoTenant, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";

// The agent starts while its Docker engine is away; what an earlier agent had put there is in the sealed store.
let host: ChannelHost | null = null;
let node: TestNode;
let container: Server;

const inContainer = (tenantId: string): NodeTenant => ({
  ...demoTenant(tenantId, 1),
  routes: [{ prefix: "/app", service: "app" }],
  services: [
    { name: "app", workspace: "main", driver: { kind: "docker", image: "web" }, healthPath: "/healthz", secrets: {} },
  ],
});

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  node = await startTestNode(host, key);
  container = createServer((_request, response) => response.end("from the container"));
});
afterAll(async () => {
  await node.stop();
  container.close();
  await host?.close();
  await stopChildren();
});

test("containers that go on without their engine are served at their last known addresses", async () => {
  const port = await listenOnLoopback(container);
  const [nobody = 0] = await freePorts(1);
  // With the edge's keys in it: an agent that ends before it has heard of them lets nobody in.
  await until("what the channel said is kept", () => existsSync(join(node.dir, "state/store/channel.json")));
  await node.end("SIGKILL");
  // It knows nothing of the tenants that are put on the disk, and would have them removed.
  await host?.close();
  host = null;
  const { storeKey } = nodeCredentials.parse(JSON.parse(readFileSync(join(node.dir, "node.json"), "utf8")));
  const { store } = await openStore(join(node.dir, "state/store"), storeKey);
  for (const [tenantId, at] of [
    ["ten_acme", port],
    ["ten_gone", nobody],
  ] as const) {
    const spec = inContainer(tenantId);
    const endpoints = { app: { address: "127.0.0.1", port: at } };
    const settled = { revision: 1, state: "live", reason: null, refused: null } as const;
    await store.saveTenant({ tenantId, want: spec, good: spec, endpoints, ...settled });
  }
  await node.start({
    docker: { socketPath: join(node.dir, "no-engine.sock") },
    images: { web: { image: "web:1", port: 8080 } },
  });
  // The Envoy of before runs on, and is told of them when it has connected again.
  const served = () => node.ask("ten_acme", "acme.causeway.localhost", "/app");
  await until("the container is served", async () => (await served()).body === "from the container");
  expect((await node.ask("ten_gone", "gone.causeway.localhost", "/app")).status).toBe(404);
  // It is tried again, and what is served stays.
  await until("both wait for the engine", async () => (await node.status()).tenants["rejected"] === 2);
  expect((await served()).status).toBe(200);
});
