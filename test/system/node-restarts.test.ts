import { execFile } from "node:child_process";
import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AgentFile } from "../../src/node-agent/main.ts";
import { processStart } from "../../src/node-agent/services/processes.ts";
import { startChild, stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { startLoad } from "../support/load.ts";
import { demoTenant, startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";

// Parts of a node are killed while requests run; the channel is away while they come back.
let host: ChannelHost;
let node: TestNode;

const ACME = "ten_acme";
const ACME_HOST = "acme.causeway.localhost";
const SERVICES = ["app", "connectors", "manager"];

const push = async (tenant: ReturnType<typeof demoTenant>) => {
  const channel = host.channel(node.nodeId);
  await channel.push({ kind: "put", tenant });
  return await channel.waitSettled(tenant.tenantId, tenant.revision, 30_000);
};
const stat = async (name: string): Promise<number> => {
  const response = await fetch(`${node.adminUrl}/stats?filter=^${name}$`);
  return Number(/: (\d+)/.exec(await response.text())?.[1] ?? 0);
};
/** A process whose parent is gone may stay behind as a zombie where process 1 does not collect them; that is not alive. */
const isAlive = (pid: number): boolean => processStart(pid) !== null;
const allServed = async (): Promise<boolean> => {
  for (const service of SERVICES) {
    const answer = await node.ask(ACME, ACME_HOST, `/${service}`);
    if (answer.status !== 200 || !answer.body.includes(`"service":"${service}"`)) return false;
  }
  return true;
};

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  node = await startTestNode(host, key);
  expect(await push(demoTenant(ACME, 1))).toMatchObject({ state: "live" });
});

afterAll(async () => {
  await node.stop();
  await host.close();
  await stopChildren();
});

test("the agent is killed under load: no error, the same Envoy and services, only differences are sent (E05)", async () => {
  const before = await node.status();
  const [clusters, scopes] = [
    await stat("cluster_manager.cluster_added"),
    await stat("http.*scoped_rds.tenants.config_reload"),
  ];
  const load = startLoad(
    () => node.ask(ACME, ACME_HOST, "/app"),
    (body) => body.includes('"service":"app"'),
  );
  await until("some load", () => load.requests() > 50);
  await node.end("SIGKILL");
  const atKill = load.requests();
  // What comes meanwhile waits in the channel; of several revisions the agent sees the newest only (H38).
  const channel = host.channel(node.nodeId);
  for (const revision of [1, 2, 3]) await channel.push({ kind: "put", tenant: demoTenant("ten_late", revision) });
  await until("some load without an agent", () => load.requests() > atKill + 100);
  await node.start();
  expect(await channel.waitSettled("ten_late", 3, 30_000)).toMatchObject({ revision: 3, state: "live" });
  await until("some load with the new agent", () => load.requests() > atKill + 300);
  expect((await load.stop()).failures).toEqual([]);
  const after = await node.status();
  expect(after.envoy.pid).toBe(before.envoy.pid);
  const pids = (status: typeof after) =>
    status.services.filter(({ name }) => name.startsWith(ACME)).map(({ pid }) => pid);
  expect(new Set(pids(after))).toEqual(new Set(pids(before)));
  expect((await stat("cluster_manager.cluster_added")) - clusters).toBe(3);
  expect((await stat("http.*scoped_rds.tenants.config_reload")) - scopes).toBeLessThanOrEqual(1);
  expect(node.log()).not.toMatch(/"revision":[12],.*ten_late|ten_late.*"revision":[12]\b/);
});

test("Envoy is killed while the channel is away: all tenants are back from the disk (E06, H37)", async () => {
  await host.gate.shut();
  await until("the agent noticed", async () => (await node.status()).channel === "offline");
  const { pid } = (await node.status()).envoy;
  if (pid === null) throw new Error("no envoy");
  process.kill(pid, "SIGKILL");
  await until("all is served again", allServed);
  expect((await node.status()).envoy.pid).not.toBe(pid);
  await host.gate.open();
  await until("the channel is back", async () => (await node.status()).channel === "online", { timeoutMs: 40_000 });
});

test("a service is killed: it is started again on its port, and Envoy needs to know nothing", async () => {
  const before = (await node.status()).services.find(({ name }) => name === `${ACME}/main/app`);
  if (before?.pid === undefined || before.pid === null) throw new Error("no service");
  const updates = await stat("cluster_manager.cds.update_success");
  process.kill(before.pid, "SIGKILL");
  await until("it answers again", async () => {
    const { status, body } = await node.ask(ACME, ACME_HOST, "/app");
    const now = (await node.status()).services.find(({ name }) => name === `${ACME}/main/app`);
    return status === 200 && body.includes('"service":"app"') && now?.pid !== before.pid && now?.port === before.port;
  });
  expect(node.log()).toMatch(/process is gone and is started again.*output\.log/); // Where to look for the reason.
  expect(await stat("cluster_manager.cds.update_success")).toBe(updates);
});

test("everything of the node is killed while the channel is away: it comes back with all tenants (H37)", async () => {
  await host.gate.shut();
  const { envoy, services } = await node.status();
  await node.end("SIGKILL");
  for (const pid of [envoy.pid, ...services.map((service) => service.pid)])
    if (pid !== null) process.kill(pid, "SIGKILL");
  await node.start();
  await until("all is served again", allServed);
  expect((await node.status()).channel).toBe("offline");
  await host.gate.open();
  await until("the channel is back", async () => (await node.status()).channel === "online", { timeoutMs: 40_000 });
  expect(await push(demoTenant(ACME, 2))).toMatchObject({ revision: 2, state: "live" });
});

test("a store that was cut off is served from the generation before, loudly, while the channel is away (E07)", async () => {
  await host.gate.shut();
  const { envoy, services } = await node.status();
  await node.end("SIGKILL");
  for (const pid of [envoy.pid, ...services.map((service) => service.pid)])
    if (pid !== null) process.kill(pid, "SIGKILL");
  const file = join(node.dir, `state/store/tenants/${ACME}.json`);
  truncateSync(file, 100);
  await node.start();
  await until("all is served again", allServed);
  const said = node
    .log()
    .split("\n")
    .find((line) => line.includes("was damaged"));
  expect(said).toContain('"level":"error"');
  expect(said).toContain(file);
  await host.gate.open();
  await until("the channel is back", async () => (await node.status()).channel === "online", { timeoutMs: 40_000 });
});

describe("a stop", () => {
  test("leaves Envoy and the services running, and a second agent is refused while one runs", async () => {
    const node24 = join(process.cwd(), "node_modules/.bin/node");
    const args = [join(process.cwd(), "src/cli/main.ts"), "node", "run", "--config", join(node.dir, "agent.json")];
    await expect(promisify(execFile)(node24, args)).rejects.toMatchObject({
      code: 4,
      stderr: expect.stringContaining("runs in"),
    });
    await node.end("SIGTERM");
    expect(await allServed()).toBe(true);
  });

  test("with stopServices ends all that the agent ran (H44)", async () => {
    await node.start({ stopServices: true });
    const { envoy, services } = await node.status();
    const pids = [envoy.pid, ...services.map(({ pid }) => pid)].filter((pid) => pid !== null);
    expect(pids.length).toBe(7);
    await node.end("SIGTERM");
    expect(pids.filter(isAlive)).toEqual([]);
  });

  test("ends it while many tenants come in, whose services never become healthy", async () => {
    const services = demoTenant("ten_sick", 1)
      .services.slice(0, 1)
      .map((service) => ({ ...service, driver: { kind: "process" as const, command: "sick" } }));
    const channel = host.channel(node.nodeId);
    for (let index = 0; index < 60; index++) {
      const tenant = demoTenant(`ten_sick${index}`, 1, { services, routes: [{ prefix: "/app", service: "app" }] });
      await channel.push({ kind: "put", tenant });
    }
    // An agent that does not know how far it had come is sent everything at once.
    for (const name of ["channel.json", "channel.json.previous"])
      rmSync(join(node.dir, "state/store", name), { force: true });
    const configFile = join(node.dir, "agent.json");
    const config: AgentFile = JSON.parse(readFileSync(configFile, "utf8"));
    const commands = { ...config.commands, sick: { argv: ["/bin/sleep", "1000"] } };
    writeFileSync(configFile, JSON.stringify({ ...config, commands }));
    const logFile = join(node.dir, "sick.log");
    const node24 = join(process.cwd(), "node_modules/.bin/node");
    const agent = startChild([node24, "src/cli/main.ts", "node", "run", "--config", configFile], logFile);
    await until("the first of them is taken up", () => readFileSync(logFile, "utf8").includes("ten_sick"));
    agent.kill("SIGTERM");
    await until("it has ended", () => agent.exitCode !== null);
    expect(agent.exitCode).toBe(0);
  });
});
