import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { demoTenant, startTestNode } from "../support/node.ts";
import { startChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";
import { nodeCredentials } from "../../src/node-agent/config.ts";
import { inLanes } from "../../src/node-agent/lanes.ts";
import { openStore } from "../../src/node-agent/store.ts";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";

/**
 * node test/load/node-scale.ts --tenants 10000 --changes 500
 *
 * A node with many tenants (three services each, one process answers for all): a real agent, a real Envoy and a real channel on workerd. Times
 * the load from disk, single changes until Envoy has acknowledged and until they are live, an agent that is killed, and an Envoy that is killed.
 * Prints JSON; nothing is judged.
 */
const { values } = parseArgs({
  options: { tenants: { type: "string", default: "10000" }, changes: { type: "string", default: "500" } },
});
const TENANTS = Number(values.tenants);
const CHANGES = Number(values.changes);
/** Files that are written at once. */
const AT_ONCE = 32;
const HOUR_MS = 3_600_000;
const SERVICES = ["app", "connectors", "manager"];

const talk = (text: string): void => void process.stderr.write(`${text}\n`);
const idOf = (index: number): string => `ten_load${index}`;
const hostOf = (index: number): string => `load${index}.causeway.localhost`;

const origin = createServer((_request, response) => response.end("ok"));
await new Promise<void>((resolve) => origin.listen(0, "127.0.0.1", resolve));
const address = origin.address();
const port = typeof address === "object" && address !== null ? address.port : 0;

const tenant = (index: number, revision: number): NodeTenant => ({
  ...demoTenant(idOf(index), revision),
  // Another route each time: a revision that changes nothing for Envoy would be acknowledged without it.
  routes: [...SERVICES, `r${revision}`].map((name) => ({
    prefix: `/${name}`,
    service: SERVICES.includes(name) ? name : "app",
  })),
  services: SERVICES.map((name) => ({
    name,
    workspace: "main",
    driver: { kind: "external", address: "127.0.0.1", port },
    healthPath: null,
    secrets: {},
  })),
});

const quantiles = (numbers: readonly number[]) => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? NaN;
  return { p50: at(0.5), p99: at(0.99), max: at(1), count: sorted.length };
};
const residentMib = (pid: number): number => {
  const [, pages = "0"] = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ");
  return Math.round((Number(pages) * 4096) / 1024 / 1024);
};
const cpuSeconds = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
};
const seconds = (sinceMs: number): number => Math.round((performance.now() - sinceMs) / 10) / 100;

const key = await newProofKey("edge-1");
const host = await startChannelHost([key.public]);
const node = await startTestNode(host, key, { envoy: { concurrency: 2 } });
const channel = host.channel(node.nodeId);
const report: Record<string, unknown> = {
  tenants: TENANTS,
  loadBefore: loadavg().map((load) => Math.round(load * 10) / 10),
};
const stat = async (name: string): Promise<number> => {
  const response = await fetch(`${node.adminUrl}/stats?filter=^${name}$`);
  return Number(/: (\d+)/.exec(await response.text())?.[1] ?? 0);
};
const agentPid = (): number => Number(/\d+/.exec(readFileSync(`${node.dir}/state/agent.lock`, "utf8"))?.[0]);
const envoyPid = async (): Promise<number> => (await node.status()).envoy.pid ?? 0;
const sizes = async () => ({ agentMib: residentMib(agentPid()), envoyMib: residentMib(await envoyPid()) });
const liveTenants = async (): Promise<number> => (await node.status()).tenants["live"] ?? 0;
const served = async (index: number): Promise<boolean> =>
  (await node.ask(idOf(index), hostOf(index), "/app")).status === 200;

try {
  // The channel would take hours for what an earlier agent has on its disk: its position is kept, the tenants are put beside it.
  await until("the channel was heard", async () => (await node.status()).channel === "online");
  await node.end("SIGTERM");
  const { storeKey } = nodeCredentials.parse(JSON.parse(readFileSync(join(node.dir, "node.json"), "utf8")));
  const { store } = await openStore(join(node.dir, "state/store"), storeKey);
  const writing = performance.now();
  await inLanes(Array.from({ length: TENANTS }).keys(), AT_ONCE, async (index) => {
    const spec = tenant(index, 1);
    const endpoints = Object.fromEntries(SERVICES.map((name) => [name, { address: "127.0.0.1", port }]));
    const settled = { revision: 1, state: "live", reason: null, refused: null } as const;
    await store.saveTenant({ tenantId: spec.tenantId, want: spec, good: spec, endpoints, ...settled });
  });
  report["writtenSeconds"] = seconds(writing);
  talk(JSON.stringify(report));
  const loading = performance.now();
  await node.start({}, HOUR_MS);
  await until("the last tenant is served", () => served(TENANTS - 1), { timeoutMs: HOUR_MS });
  report["load"] = { seconds: seconds(loading), ...(await sizes()) };
  talk(JSON.stringify(report));

  const toLive: number[] = [];
  /** A call of the channel that does nothing: what the harness adds to each push, and once more to each wait. */
  const calls: number[] = [];
  const sentAtMs = new Map<string, number>();
  for (let change = 0; change < CHANGES; change++) {
    const index = Math.floor((change * TENANTS) / CHANGES);
    const called = performance.now();
    await channel.presence();
    calls.push(performance.now() - called);
    sentAtMs.set(idOf(index), Date.now());
    const began = performance.now();
    await channel.push({ kind: "put", tenant: tenant(index, 2) });
    const settled = await channel.waitSettled(idOf(index), 2, 60_000);
    if (settled?.state !== "live") throw new Error(`not live: ${JSON.stringify(settled)}`);
    toLive.push(performance.now() - began);
  }
  const toAcknowledged = node
    .log()
    .split("\n")
    .filter((line) => line.includes("revision accepted") && line.includes('"revision":2'))
    .map((line): { time: string; tenantId: string } => JSON.parse(line))
    .map(({ time, tenantId }) => Date.parse(time) - (sentAtMs.get(tenantId) ?? NaN));
  report["changesMs"] = {
    toAcknowledged: quantiles(toAcknowledged),
    toLive: quantiles(toLive),
    emptyCall: quantiles(calls),
    load: loadavg()[0],
  };
  talk(JSON.stringify(report));

  const clusters = await stat("cluster_manager.cluster_added");
  const updated = await stat("cluster_manager.cluster_modified");
  await node.end("SIGKILL");
  const agent = performance.now();
  await node.start({}, HOUR_MS);
  const agentReady = seconds(agent);
  await until("all are live", async () => (await liveTenants()) === TENANTS, { timeoutMs: HOUR_MS });
  await until("the channel is back", async () => (await node.status()).channel === "online", { timeoutMs: HOUR_MS });
  report["agentRestart"] = {
    seconds: seconds(agent),
    readySeconds: agentReady,
    cpuSeconds: cpuSeconds(agentPid()),
    clustersSent:
      (await stat("cluster_manager.cluster_added")) +
      (await stat("cluster_manager.cluster_modified")) -
      clusters -
      updated,
    load: loadavg()[0],
  };
  talk(JSON.stringify(report));

  const before = await envoyPid();
  process.kill(before, "SIGKILL");
  const cold = performance.now();
  await until("the first tenant is served", () => served(0), { timeoutMs: HOUR_MS, intervalMs: 100 });
  const first = seconds(cold);
  await until("the last tenant is served", () => served(TENANTS - 1), { timeoutMs: HOUR_MS });
  const pid = await envoyPid();
  report["envoyColdStart"] = {
    firstSeconds: first,
    lastSeconds: seconds(cold),
    envoyCpuSeconds: cpuSeconds(pid),
    ...(await sizes()),
    load: loadavg()[0],
  };
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
} finally {
  await node.stop();
  await host.close();
  await stopChildren();
  origin.close();
}
