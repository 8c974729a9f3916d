import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { processStart } from "../../src/node-agent/services/processes.ts";
import { endChild, startChild, stopChildren } from "../support/children.ts";
import { runCli } from "../support/cli.ts";
import { envoyBinary, newProofKey } from "../support/envoy.ts";
import { demoTenant, get, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";

let host: ChannelHost;
let node: TestNode;
const ACME_HOST = "acme.causeway.localhost";

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  node = await startTestNode(host, key);
  const channel = host.channel(node.nodeId);
  await channel.push({ kind: "put", tenant: demoTenant("ten_acme", 1) });
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

  const { pid } = (await node.status()).envoy;
  await node.end("SIGTERM");
  if (pid === null) throw new Error("no envoy");
  process.kill(pid, "SIGKILL");
  await until("the agent's Envoy is gone", () => processStart(pid) === null);
  const flags = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"];
  const envoy = startChild([await envoyBinary(), "-c", file, ...flags], join(node.dir, "static.log"));
  await until("it is ready", async () => (await fetch(`${node.adminUrl}/ready`)).ok);
  for (const service of ["app", "connectors", "manager"]) {
    const answer = await node.ask("ten_acme", ACME_HOST, `/${service}`);
    expect(answer).toMatchObject({ status: 200, body: expect.stringContaining(`"service":"${service}"`) });
  }
  expect(await node.ask("ten_gone", "gone.causeway.localhost", "/app")).toMatchObject({ status: 404 });
  expect(await get(`${node.url}/app`, { host: ACME_HOST })).toMatchObject({ status: 401 });
  expect((await node.ask("ten_acme", ACME_HOST, "/nowhere")).body).toContain("no-route");
  await endChild(envoy, "SIGTERM");
});
