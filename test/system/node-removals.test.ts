import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../support/cli.ts";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { demoTenant, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";

// A snapshot of the control plane that leaves most tenants out.
let host: ChannelHost;
let restored: ChannelHost;
let node: TestNode;
const TENANTS = ["ten_one", "ten_two", "ten_three", "ten_four"];
const small = (tenantId: string) =>
  demoTenant(tenantId, 1, {
    routes: [{ prefix: "/app", service: "app" }],
    services: demoTenant(tenantId, 1).services.filter(({ name }) => name === "app"),
  });
const served = async (tenantId: string): Promise<boolean> =>
  (await node.ask(tenantId, `${tenantId.slice(4)}.causeway.localhost`, "/app")).status === 200;

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  restored = await startChannelHost([key.public]);
  node = await startTestNode(host, key);
  const channel = host.channel(node.nodeId);
  for (const tenantId of TENANTS) await channel.push({ kind: "put", tenant: small(tenantId) });
  for (const tenantId of TENANTS)
    expect(await channel.waitSettled(tenantId, 1, 30_000)).toMatchObject({ state: "live" });
});
afterAll(async () => {
  await node.stop();
  await host.close();
  await restored.close();
  await stopChildren();
});

test("tenants that a snapshot leaves out stay served until somebody confirms, also over a restart (E08)", async () => {
  await node.end("SIGTERM");
  // A control plane that was set up anew knows the node and one of its tenants.
  await restored.channel(node.nodeId).push({ kind: "put", tenant: small("ten_one") });
  const token = join(node.dir, "token-again");
  writeFileSync(token, await restored.newNode(node.nodeId, "walter-white"), { mode: 0o600 });
  const out = join(node.dir, "node.json");
  const again = ["node", "enroll", "--url", restored.relayUrl, "--token-file", token, "--out", out];
  expect(await runCli(again)).toMatchObject({ code: 0 });
  await node.start();
  await until("three removals are held", async () => (await node.status()).heldRemovals === 3);
  expect(node.log()).toContain("causeway node removals --confirm");
  await node.end("SIGKILL");
  await node.start();
  await until("the channel is back", async () => (await node.status()).channel === "online", { timeoutMs: 40_000 });
  expect((await node.status()).heldRemovals).toBe(3);
  expect(await Promise.all(TENANTS.map(served))).toEqual([true, true, true, true]);

  const config = join(node.dir, "agent.json");
  const shown = await runCli(["node", "removals", "--config", config]);
  expect(shown.stdout).toContain("two (ten_two)");
  expect(await served("ten_two")).toBe(true);
  await runCli(["node", "removals", "--config", config, "--confirm"]);
  await until("they are gone", async () => !(await served("ten_two")) && !(await served("ten_four")));
  expect(await served("ten_one")).toBe(true);
  await until("nothing is held any more", async () => (await node.status()).heldRemovals === 0);
  expect((await runCli(["node", "removals", "--config", config])).stdout).toBe("Nothing is held.\n");
});
