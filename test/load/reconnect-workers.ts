import { fork, spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { probe } from "../../bench/core/probe.ts";
import { BASE_DOMAIN, startProduct, type ObjectCall } from "../../bench/scenarios/product.ts";
import { workerdBinary } from "../../bench/workerd/serve.ts";
import { directoryShard } from "../../src/policy/record.ts";
import { connectorGrant } from "../../src/protocol/lane.ts";
import type { CrowdMember, CrowdOptions } from "../support/connector-crowd.ts";
import { until } from "../support/until.ts";
import type { CrowdReport } from "./crowd-process.ts";

/**
 * node test/load/reconnect-workers.ts --connectors 10000 --tenants 160 --processes 2 --kills 1
 *
 * As reconnect.ts, on bare workerd: edge and both lanes' objects in one process, a socket of each connector on one lane, at most 64 for each
 * object. workerd is killed (SIGKILL) and started again with its storage and port. Exit code 1 when not all are back in five minutes.
 */
const BACK_MS = 300_000;

const { values } = parseArgs({
  options: {
    connectors: { type: "string", default: "10000" },
    tenants: { type: "string", default: "160" },
    processes: { type: "string", default: "2" },
    kills: { type: "string", default: "1" },
  },
});
const [connectors, tenants, processes] = [values.connectors, values.tenants, values.processes].map(Number);
const folder = mkdtempSync(join(tmpdir(), "cw-storm-"));
const children: ChildProcess[] = [];
const ends: (() => Promise<void>)[] = [];
const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
const key: CrowdOptions["key"] = { keyId: "key-1", privateKey: { kty: "OKP", crv: "Ed25519", x, d } };
const slugOf = (n: number): string => `tenant-${n % (tenants ?? 1)}`;
const say = (what: string, more: Record<string, unknown>): void =>
  void process.stdout.write(`${JSON.stringify({ what, ...more })}\n`);

/** What the control plane would have told lanes and directory of one tenant. */
function setUp(slug: string): ObjectCall[] {
  const [tenantId, host] = [`ten_${slug}`, `${slug}.${BASE_DOMAIN}`];
  const common = { tenantId, slug, cluster: "default", state: "active", node: null, accessRevision: 0 };
  const routes = [{ prefix: "/", access: "public", to: { kind: "target", target: "ping" } }];
  const record = { ...common, host, routes, notBefore: {}, revision: 1 };
  const keys = [{ kty: "OKP", crv: "Ed25519", x, kid: key.keyId }];
  const own = { connectorId: `con_${slug}`, name: "site", revision: 1, disabled: false, keys, targets: ["ping"] };
  const grant = connectorGrant.parse({ tenantId, tenant: slug, ...own });
  return [
    { namespace: "DIRECTORY", name: directoryShard(host), method: "publish", args: [record] },
    ...(["LANE_A", "LANE_B"] as const).map((namespace): ObjectCall => ({
      namespace,
      name: tenantId,
      method: "putConnector",
      args: [grant],
    })),
  ];
}

const answer = z.custom<CrowdReport>();
function startCrowds(relayUrl: string): () => Promise<Omit<CrowdReport, "losses"> & { losses: string[] }> {
  const members = Array.from({ length: connectors ?? 0 }, (_, n): CrowdMember => {
    return { tenant: slugOf(n >> 1), connector: "site", instance: `i${n}`, lanes: [n % 2 === 0 ? "a" : "b"] };
  });
  const crowds = Array.from({ length: processes ?? 1 }, (_, part) => {
    const child = fork(join(import.meta.dirname, "crowd-process.ts"));
    children.push(child);
    const start: CrowdOptions = { relayUrl, key, members: members.filter((_, n) => n % (processes ?? 1) === part) };
    child.send({ start });
    return child;
  });
  return async () => {
    const parts = await Promise.all(
      crowds.map(async (child) => {
        const said = once(child, "message");
        child.send({ ask: "report" });
        return answer.parse((await said)[0]);
      }),
    );
    return {
      ready: parts.reduce((sum, { ready }) => sum + ready, 0),
      size: parts.reduce((sum, { size }) => sum + size, 0),
      readySince: parts.flatMap(({ readySince }) => readySince),
      losses: parts.flatMap(({ losses }) => Object.entries(losses).map(([reason, n]) => `${n} ${reason}`)),
    };
  };
}

function usage(pid: number): { mib: number; cpuMs: number } {
  const [, kib = "0"] = /VmRSS:\s+([0-9]+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  return { mib: Math.round(Number(kib) / 1024), cpuMs: (Number(fields[11]) + Number(fields[12])) * 10 };
}

async function allBack(report: ReturnType<typeof startCrowds>, sinceMs: number): Promise<Record<string, unknown>> {
  const losses: string[] = [];
  let told = 0;
  const last = await until(
    "all are back",
    async () => {
      const now = await report();
      losses.push(...now.losses);
      if (now.ready >= told + now.size / 10) {
        told = now.ready;
        say("so far", { ready: told, ms: Date.now() - sinceMs });
      }
      return now.ready === now.size ? now : null;
    },
    { timeoutMs: BACK_MS, intervalMs: 250 },
  );
  const backMs = last.readySince.map((at) => at - sinceMs).sort((a, b) => a - b);
  const at = (share: number): number => backMs[Math.min(backMs.length - 1, Math.floor(backMs.length * share))] ?? 0;
  return { sockets: last.size, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1), losses: losses.slice(0, 20) };
}

async function main(): Promise<void> {
  const product = await startProduct(folder);
  ends.push(product.child.kill);
  for (let n = 0; n < (tenants ?? 0); n++) await product.call(setUp(slugOf(n)));
  const { port } = new URL(product.url);
  const startedMs = Date.now();
  const report = startCrowds(`http://relay.${BASE_DOMAIN}:${port}`);
  say("all came in", { ...(await allBack(report, startedMs)), workerd: usage(product.child.pid) });
  let pid = product.child.pid;
  for (let kill = 1; kill <= Number(values.kills); kill++) {
    process.kill(pid, "SIGKILL");
    const address = `--socket-addr=causeway-edge=127.0.0.1:${port}`;
    const child = spawn(workerdBinary(), ["serve", address, join(folder, "product.capnp")], { stdio: "ignore" });
    children.push(child);
    pid = child.pid ?? 0;
    const path = { url: product.url, headers: async () => ({ host: `${slugOf(0)}.${BASE_DOMAIN}` }) };
    await until("it listens", async () => (await probe(path)).status > 0, { intervalMs: 10, timeoutMs: 60_000 });
    const listenedMs = Date.now();
    const back = await allBack(report, listenedMs);
    const { status, body } = await probe(path);
    say(`back after kill ${kill}`, { ...back, workerd: usage(pid), visit: `${status} ${body}` });
  }
}

try {
  await main();
} finally {
  for (const child of children) child.kill("SIGKILL");
  for (const end of ends) await end();
  rmSync(folder, { recursive: true, force: true });
}
