import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import WsSocket from "ws";
import type { AgentFile } from "../../src/node-agent/main.ts";
import { processStart } from "../../src/node-agent/services/processes.ts";
import { stopChildren } from "../support/children.ts";
import { runCli } from "../support/cli.ts";
import { envoyBinary, newProofKey } from "../support/envoy.ts";
import { startLoad } from "../support/load.ts";
import { demoTenant, startTestNode, type Answer, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";

// The Envoy of a node is replaced by another program while requests run.
let host: ChannelHost;
let node: TestNode;
let binary: string;
const ACME = "ten_acme";
const ACME_HOST = "acme.causeway.localhost";
const DRAIN_SECONDS = 4;
const kept = new Agent({ keepAlive: true, maxSockets: 2 });

const push = async (tenant: ReturnType<typeof demoTenant>) => {
  const channel = host.channel(node.nodeId);
  await channel.push({ kind: "put", tenant });
  return await channel.waitSettled(tenant.tenantId, tenant.revision, 30_000);
};
const isAlive = (pid: number): boolean => processStart(pid) !== null;
const envoyPid = async (): Promise<number> => {
  const { pid } = (await node.status()).envoy;
  if (pid === null) throw new Error("no envoy");
  return pid;
};
const configFile = (): string => join(node.dir, "agent.json");
const readConfig = (): AgentFile => JSON.parse(readFileSync(configFile(), "utf8"));
const setBinary = (path: string): void => {
  const file = readConfig();
  writeFileSync(configFile(), JSON.stringify({ ...file, envoy: { ...file.envoy, binary: path } }));
};
/** The same program under another path. */
const another = (name: string): string => {
  const path = join(node.dir, name);
  symlinkSync(binary, path);
  return path;
};
const upgrade = () => runCli(["node", "upgrade-envoy", "--config", configFile(), "--json"]);

/** Over connections that are used again and again, as the edge's are. */
const askKept = async (path: string): Promise<Answer> => {
  const headers = { "causeway-proof": await node.proofFor(ACME, ACME_HOST) };
  return await new Promise((resolve, reject) => {
    const asked = request(`${node.url}${path}`, { agent: kept, headers, timeout: 30_000 }, (response) => {
      let body = "";
      response.on("data", (part: Buffer) => (body += part.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      response.on("error", reject);
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer in 30 s")));
    asked.on("error", reject);
    asked.end();
  });
};
const isApp = (body: string): boolean => body.includes('"service":"app"');
const startLoads = () => [
  startLoad(() => node.ask(ACME, ACME_HOST, "/app"), isApp),
  startLoad(() => askKept("/app"), isApp, 2),
];
const failuresOf = async (loads: ReturnType<typeof startLoads>) =>
  (await Promise.all(loads.map((load) => load.stop()))).flatMap(({ failures }) => failures);

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  binary = await envoyBinary();
  node = await startTestNode(host, key, { envoy: { drainSeconds: DRAIN_SECONDS } });
  expect(await push(demoTenant(ACME, 1))).toMatchObject({ state: "live" });
});
afterAll(async () => {
  kept.destroy();
  await node.stop();
  await host.close();
  await stopChildren();
});

test("another Envoy takes over under load: no request fails, a WebSocket lives until the drain ends", async () => {
  const before = await envoyPid();
  const loads = startLoads();
  const socket = new WsSocket(`${node.url.replace("http", "ws")}/app/ws`, {
    headers: { "causeway-proof": await node.proofFor(ACME, ACME_HOST) },
  });
  let closed = false;
  socket.on("close", () => (closed = true));
  await new Promise((resolve, reject) => socket.once("open", resolve).on("error", reject));
  const echo = (text: string) =>
    new Promise<string>((resolve) => {
      socket.once("message", (data: Buffer) => resolve(data.toString()));
      socket.send(text);
    });
  await echo("before");
  // Begins at the old Envoy and ends while the new one serves.
  const slow = askKept("/app/slow?ms=2500");
  setBinary(another("envoy-2"));
  const done = await upgrade();
  expect(done).toMatchObject({ code: 0 });
  const after = await envoyPid();
  expect(JSON.parse(done.stdout)).toMatchObject({ pid: after, drainSeconds: DRAIN_SECONDS });
  expect(after).not.toBe(before);
  // A change reaches the new one at once, and what is open at the old one goes on.
  expect(await push(demoTenant("ten_late", 1))).toMatchObject({ state: "live" });
  expect((await node.ask("ten_late", "late.causeway.localhost", "/app")).status).toBe(200);
  expect((await slow).status).toBe(200);
  if (isAlive(before)) expect(await echo("still here")).toContain("still here");
  await until("the old Envoy is gone", () => !isAlive(before));
  await until("its WebSocket is closed", () => closed);
  expect(await failuresOf(loads)).toEqual([]);
  expect((await node.status()).envoy).toMatchObject({ pid: after, drainingPid: null });
});

test("one that does not come up, or can't take over, is given up, and the old one goes on", async () => {
  const before = await envoyPid();
  const loads = startLoads();
  const script = join(node.dir, "broken");
  const run = async (text: string) => {
    writeFileSync(script, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    setBinary(script);
    return await upgrade();
  };
  const asksVersion = `case "$*" in --hot-restart-version) exec ${binary} --hot-restart-version;; esac`;
  expect(await run(`${asksVersion}\nexit 1`)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("ended at once"),
  });
  expect(await run("echo 1.1")).toMatchObject({ code: 1, stderr: expect.stringContaining("can't take over") });
  setBinary(join(node.dir, "nowhere"));
  expect(await upgrade()).toMatchObject({ code: 1, stderr: expect.stringContaining("ENOENT") });
  expect(await envoyPid()).toBe(before);
  expect(await push(demoTenant(ACME, 2))).toMatchObject({ state: "live" });
  expect(await failuresOf(loads)).toEqual([]);
});

test("an agent that starts with another configuration of Envoy replaces it without a cut, and the next one adopts it", async () => {
  const before = await envoyPid();
  const loads = startLoads();
  const { envoy } = readConfig();
  await node.end("SIGKILL");
  await node.start({ envoy: { ...envoy, binary: join(node.dir, "envoy-2") } });
  expect(await envoyPid()).toBe(before);
  await node.end("SIGTERM");
  const other = { envoy: { ...envoy, binary, concurrency: 3 } };
  await node.start(other);
  const after = await until("another Envoy", async () => {
    const pid = await envoyPid();
    return pid !== before && pid;
  });
  await node.end("SIGKILL");
  await node.start(other);
  expect(await envoyPid()).toBe(after);
  expect(await push(demoTenant(ACME, 3))).toMatchObject({ state: "live" });
  await until("the old Envoy is gone", () => !isAlive(before));
  expect(await failuresOf(loads)).toEqual([]);
});
