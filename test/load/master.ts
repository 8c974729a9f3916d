import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { renderEdgeCluster, renderMasterListeners, renderTunnelCluster } from "../../src/node-agent/envoy/master.ts";
import { LINK_AUTHORITY, LINK_CERTIFICATE, renderAuthority } from "../../src/node-agent/envoy/link-tls.ts";
import { renderFallback, renderFront } from "../../src/node-agent/envoy/render-front.ts";
import { LISTENERS_FILE, renderBootstrap } from "../../src/node-agent/envoy/static.ts";
import { CERTIFICATE_FILE, renderCertificate } from "../../src/node-agent/envoy/tls.ts";
import { LIMITS } from "../../src/node-agent/limits.ts";
import { encodeTenant } from "../../src/node-agent/xds/codec.ts";
import { createPlanner } from "../../src/node-agent/xds/planner.ts";
import { startXdsServer } from "../../src/node-agent/xds/server.ts";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { createLogger } from "../../src/shared/log.ts";
import { selfSigned } from "../support/certificate.ts";
import { endChild, startChild } from "../support/children.ts";
import { envoyBinary } from "../support/envoy.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";

/**
 * node test/load/master.ts --hosts 10000 --nodes 20
 *
 * A real Envoy as master, configured by the agent's own renderer, planner and xDS server: how long it takes from its start until its ports are
 * open with all hosts, how much memory it has then, how many clusters, and how long changes of single tenants take until they are
 * acknowledged. Prints JSON.
 */
const { values } = parseArgs({
  options: {
    hosts: { type: "string", default: "10000" },
    nodes: { type: "string", default: "20" },
    changes: { type: "string", default: "500" },
    concurrency: { type: "string", default: "2" },
  },
});
const hosts = Number(values.hosts);
const nodes = Number(values.nodes);

const dir = mkdtempSync(join(tmpdir(), "cw-master-load-"));
const paths = {
  xdsSocket: join(dir, "run/xds.sock"),
  probeSocket: join(dir, "run/probe.sock"),
  gateSocket: join(dir, "run/gate.sock"),
  tunnelSocket: join(dir, "run/mqtt.sock"),
  listenersDir: join(dir, "listeners"),
  filtersDir: join(dir, "filters"),
  secretsDir: join(dir, "secrets"),
};
for (const folder of [paths.listenersDir, paths.filtersDir, paths.secretsDir]) mkdirSync(folder);
const [port = 0, mqttPort = 0, adminPort = 0] = await freePorts(3);
const ports = { address: "127.0.0.1", port, adminPort, tls: true, mqttPort };
const edge = renderEdgeCluster({ scheme: "http", host: "127.0.0.1", port: 1, caFile: null });
const pair = selfSigned({ dns: ["*.causeway.localhost"] });
const certificate = { chain: pair.cert, key: pair.key };
const write = (path: string, json: unknown): void => writeFileSync(path, JSON.stringify(json));
write(join(dir, "bootstrap.json"), renderBootstrap("master", ports, paths, [edge, renderTunnelCluster(paths)]));
write(join(paths.listenersDir, LISTENERS_FILE), renderMasterListeners(ports, paths));
write(join(paths.secretsDir, CERTIFICATE_FILE), renderCertificate(certificate, "1"));
write(join(paths.secretsDir, LINK_CERTIFICATE.file), renderCertificate(certificate, "1", LINK_CERTIFICATE.name));
write(join(paths.secretsDir, LINK_AUTHORITY.file), renderAuthority(pair.cert, "1"));

/** Two open routes, one of them with a closed one below it, and a broker. */
function unitOf(index: number, revision: number) {
  const tenantId = `ten_${index}`;
  const tenant: NodeTenant = {
    tenantId,
    slug: `t${index}`,
    revision,
    hosts: [`t${index}.causeway.localhost`],
    routes: [],
    services: [],
  };
  const front = {
    node: { id: `nod_${index % nodes}`, at: { host: "127.0.0.1", port: 20_000 + (index % nodes) } },
    routes: [
      { prefix: "/app", to: "node" as const },
      { prefix: "/app/admin", to: "edge" as const },
      { prefix: "/shop", to: "node" as const },
    ],
    mqtt: true,
  };
  return encodeTenant(tenantId, revision, renderFront(tenant, front, paths.secretsDir));
}

const renderedAtMs = performance.now();
const planner = createPlanner(LIMITS);
planner.put(encodeTenant("*", 0, renderFallback()));
for (let index = 0; index < hosts; index++) planner.put(unitOf(index, 1));
const renderMs = performance.now() - renderedAtMs;

const waiting = new Map<string, () => void>();
const xds = await startXdsServer({
  socketPath: paths.xdsSocket,
  planner,
  onEffect: (effect) => {
    if (effect.kind === "rejected") throw new Error(`envoy refused ${effect.unit.tenantId}: ${effect.reason}`);
    if (effect.kind === "accepted") waiting.get(`${effect.unit.tenantId}/${effect.unit.revision}`)?.();
  },
  log: createLogger("load", () => undefined),
});
const startedAtMs = performance.now();
const flags = ["--disable-hot-restart", "--concurrency", values.concurrency, "--reject-unknown-dynamic-fields"];
const argv = [await envoyBinary(), "-c", join(dir, "bootstrap.json"), ...flags, "--log-level", "warning"];
const envoy = startChild(argv, join(dir, "envoy.log"));
const admin = `http://127.0.0.1:${adminPort}`;
await until("all hosts are there", async () => xds.ready() && (await fetch(`${admin}/ready`)).ok, {
  timeoutMs: 120_000,
  intervalMs: 10,
});
const startMs = performance.now() - startedAtMs;
const memory = async () => {
  const status = readFileSync(`/proc/${envoy.pid ?? 0}/status`, "utf8");
  const { allocated }: { allocated: string } = JSON.parse(await (await fetch(`${admin}/memory`)).text());
  return {
    rssMib: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024),
    allocatedMib: Math.round(Number(allocated) / 2 ** 20),
  };
};
const afterStart = await memory();
const { cluster_statuses: clusters }: { cluster_statuses: { name: string }[] } = JSON.parse(
  await (await fetch(`${admin}/clusters?format=json`)).text(),
);

const tookMs: number[] = [];
for (let change = 0; change < Number(values.changes); change++) {
  const index = Math.floor((change * hosts) / Number(values.changes));
  const unit = unitOf(index, change + 2);
  const began = performance.now();
  const accepted = new Promise<void>((resolve) => waiting.set(`${unit.tenantId}/${unit.revision}`, resolve));
  xds.run(planner.put(unit));
  await accepted;
  tookMs.push(performance.now() - began);
}
tookMs.sort((a, b) => a - b);
const quantile = (share: number): number =>
  Math.round((tookMs[Math.min(tookMs.length - 1, Math.floor(tookMs.length * share))] ?? 0) * 10) / 10;

const report = {
  hosts,
  nodes,
  agentRenderMs: Math.round(renderMs),
  envoyStartMs: Math.round(startMs),
  envoy: afterStart,
  envoyAfterChanges: await memory(),
  nodeClusters: clusters.filter(({ name }) => name.startsWith("node/")).length,
  changeAckMs: { p50: quantile(0.5), p99: quantile(0.99) },
};
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
await endChild(envoy, "SIGKILL");
await xds.close();
