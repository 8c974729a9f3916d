import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { processStart } from "../../src/node-agent/services/processes.ts";
import { endChild, startChild, stopChildren } from "../support/children.ts";
import { runCli } from "../support/cli.ts";
import { envoyBinary, newProofKey } from "../support/envoy.ts";
import { DEMO_COMMANDS, demoTenant, get, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";

let host: ChannelHost;
let node: TestNode;
const ACME_HOST = "acme.causeway.localhost";
/** A service that speaks nothing but HTTP/2. */
const H2C = `
  require("node:http2").createServer((request, response) => {
    response.end('{"service":"modern","version":"' + request.httpVersion + '","host":"' + request.authority + '"}');
  }).listen(Number(process.env.PORT), "127.0.0.1");
`;

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  node = await startTestNode(host, key, {
    config: { commands: { ...DEMO_COMMANDS, h2c: { argv: [process.execPath, "-e", H2C] } } },
  });
  const channel = host.channel(node.nodeId);
  const tenant = demoTenant("ten_acme", 1);
  const modern: NodeTenant["services"][number] = {
    name: "modern",
    workspace: "main",
    driver: { kind: "process", command: "h2c" },
    protocol: "h2c",
    healthPath: "/healthz",
    secrets: {},
  };
  const routes = [...tenant.routes, { prefix: "/modern", service: "modern" }];
  await channel.push({ kind: "put", tenant: { ...tenant, routes, services: [...tenant.services, modern] } });
  await channel.push({ kind: "put", tenant: demoTenant("ten_gone", 1) });
  expect(await channel.waitSettled("ten_acme", 1, 30_000)).toMatchObject({ state: "live" });
  expect(await channel.waitSettled("ten_gone", 1, 30_000)).toMatchObject({ state: "live" });
  await channel.push({ kind: "remove", tenantId: "ten_gone", revision: 2 });
  await until("one is gone", async () => (await node.status()).tenants["gone"] === 1);
});
afterAll(async () => {
  await node.stop();
  await host.close();
  await stopChildren();
});

test("what Envoy acknowledged runs from one static file, with no agent at all (E12)", async () => {
  const config = join(node.dir, "agent.json");
  const printed = await runCli(["node", "export", "--config", config]);
  const file = join(node.dir, "static.json");
  const done = await runCli(["node", "export", "--config", config, "--out", file, "--json"]);
  expect(JSON.parse(done.stdout)).toEqual({ file, tenants: 1 });
  expect(readFileSync(file, "utf8")).toBe(printed.stdout);

  const modern = await node.ask("ten_acme", ACME_HOST, "/modern");
  expect(JSON.parse(modern.body)).toEqual({ service: "modern", version: "2.0", host: ACME_HOST });

  const { pid } = (await node.status()).envoy;
  await node.end("SIGTERM");
  if (pid === null) throw new Error("no envoy");
  process.kill(pid, "SIGKILL");
  await until("the agent's Envoy is gone", () => processStart(pid) === null);
  const flags = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"];
  const envoy = startChild([await envoyBinary(), "-c", file, ...flags], join(node.dir, "static.log"));
  await until("it is ready", async () => (await fetch(`${node.adminUrl}/ready`)).ok);
  for (const service of ["app", "connectors", "manager", "modern"]) {
    const answer = await node.ask("ten_acme", ACME_HOST, `/${service}`);
    expect(answer).toMatchObject({ status: 200, body: expect.stringContaining(`"service":"${service}"`) });
  }
  expect(await node.ask("ten_gone", "gone.causeway.localhost", "/app")).toMatchObject({ status: 404 });
  expect(await get(`${node.url}/app`, { host: ACME_HOST })).toMatchObject({ status: 401 });
  expect((await node.ask("ten_acme", ACME_HOST, "/nowhere")).body).toContain("no-route");
  await endChild(envoy, "SIGTERM");
});
