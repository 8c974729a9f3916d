import { fork, spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { until } from "../support/until.ts";
import type { CrowdMember, CrowdOptions } from "../support/connector-crowd.ts";
import type { CrowdReport } from "./crowd-process.ts";
import { freePorts } from "../support/ports.ts";

/**
 * node test/load/reconnect.ts --connectors 10000 --tenants 200 --lanes one|both --listeners two|one --processes 2 --kills 3
 *
 * Connectors, all from this machine, at one `causeway relay` with both lanes, which is killed (SIGKILL) and started again. Prints for each
 * time how long after the relay listened again the links were back, what their dials met meanwhile, what the relay used, and how visitors'
 * requests went. Exit code 1 when not all are back in five minutes. `--lanes one`: half of the connectors on each lane, so one socket each.
 * `--listeners one`: visitors and connectors share an address. Every process needs as many file descriptors as it has sockets.
 */
const BACK_MS = 300_000;
const PROBE_EVERY_MS = 25;

const { values } = parseArgs({
  options: {
    connectors: { type: "string", default: "10000" },
    tenants: { type: "string", default: "200" },
    lanes: { type: "string", default: "one" },
    listeners: { type: "string", default: "two" },
    processes: { type: "string", default: "2" },
    kills: { type: "string", default: "3" },
    cli: { type: "string", default: join(import.meta.dirname, "../../src/cli/main.ts") },
  },
});
const connectors = Number(values.connectors);
const tenants = Number(values.tenants);
const folder = mkdtempSync(join(tmpdir(), "cw-storm-"));
const children: ChildProcess[] = [];
const [port = 0, adminPort = 0, other = 0] = await freePorts(3);
const dialPort = values.listeners === "one" ? port : other;
const relayUrl = `http://relay.causeway.localhost:${dialPort}`;
const pair = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
const { x = "", d = "" } = pair;
const key = { keyId: "key-1", privateKey: { kty: "OKP", crv: "Ed25519", x, d } } as const;
const tenantName = (n: number): string => `tenant-${n % tenants}`;

function writeConfig(): string {
  const file = join(folder, "relay.json");
  const one = {
    routes: [{ prefix: "/", target: "ping" }],
    connectors: { site: { keys: [{ kty: "OKP", crv: "Ed25519", x, kid: "key-1" }] } },
  };
  const config = {
    listen: { visitors: `127.0.0.1:${port}`, connectors: `127.0.0.1:${dialPort}`, admin: `127.0.0.1:${adminPort}` },
    baseDomains: ["causeway.localhost"],
    accessLog: false,
    tenants: Object.fromEntries(Array.from({ length: tenants }, (_, n) => [tenantName(n), one])),
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

async function startRelay(config: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [values.cli, "relay", "--config", config], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  children.push(child);
  let output = "";
  let listens = false;
  child.stderr.on("data", (data: Buffer) => {
    if (!listens) output += data.toString();
    listens = output.includes('"the relay runs"');
  });
  await until(
    "the relay listens",
    () => {
      if (child.exitCode !== null) throw new Error(output);
      return listens;
    },
    { intervalMs: 2 },
  );
  return child;
}

/** Resident bytes now and CPU time so far. Linux only. */
function usage({ pid }: ChildProcess): { mib: number; cpuMs: number } {
  const [, kib = "0"] = /VmRSS:\s+([0-9]+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  return { mib: Math.round(Number(kib) / 1024), cpuMs: (Number(fields[11]) + Number(fields[12])) * 10 };
}

function startCrowds(): { reports(): Promise<CrowdReport> } {
  const count = Number(values.processes);
  const members = Array.from({ length: connectors }, (_, n): CrowdMember => {
    const lanes = values.lanes === "both" ? (["a", "b"] as const) : ([n % 2 === 0 ? "a" : "b"] as const);
    return { tenant: tenantName(Math.floor(n / 2)), connector: "site", instance: `i${n}`, lanes };
  });
  const processes = Array.from({ length: count }, (_, part) => {
    const child = fork(join(import.meta.dirname, "crowd-process.ts"));
    children.push(child);
    const start: CrowdOptions = { relayUrl, key, members: members.filter((_, n) => n % count === part) };
    child.send({ start });
    return child;
  });
  const ask = async (child: ChildProcess): Promise<CrowdReport> => {
    const answer = once(child, "message");
    child.send({ ask: "report" });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own child
    return (await answer)[0] as CrowdReport;
  };
  return {
    async reports() {
      const parts = await Promise.all(processes.map(ask));
      const losses: Record<string, number> = {};
      for (const part of parts)
        for (const [reason, n] of Object.entries(part.losses)) losses[reason] = (losses[reason] ?? 0) + n;
      return {
        ready: parts.reduce((sum, part) => sum + part.ready, 0),
        size: parts.reduce((sum, part) => sum + part.size, 0),
        readySince: parts.flatMap((part) => part.readySince),
        losses,
      };
    },
  };
}

/** One visitor's request; the status, or 0 without an answer. */
function visit(tenant: string): Promise<{ status: number; code: string; ms: number }> {
  const startedMs = performance.now();
  return new Promise((resolve) => {
    const done = (status: number, code: string): void => resolve({ status, code, ms: performance.now() - startedMs });
    const asked = request(
      { host: "127.0.0.1", port, agent: false, headers: { host: `${tenant}.causeway.localhost:${port}` } },
      (response) => {
        response.resume();
        response.once("end", () => done(response.statusCode ?? 0, String(response.headers["causeway-error"] ?? "")));
      },
    );
    asked.once("error", (error) => done(0, error.message));
    asked.end();
  });
}

const quantile = (sorted: readonly number[], q: number): number =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0);

const say = (what: string, more: Record<string, unknown>): void =>
  void process.stdout.write(`${JSON.stringify({ what, ...more })}\n`);

async function allBack(crowds: { reports(): Promise<CrowdReport> }): Promise<CrowdReport> {
  const losses: Record<string, number> = {};
  const last = await until(
    "all are back",
    async () => {
      const report = await crowds.reports();
      for (const [reason, n] of Object.entries(report.losses)) losses[reason] = (losses[reason] ?? 0) + n;
      return report.ready === report.size ? report : null;
    },
    { timeoutMs: BACK_MS, intervalMs: 250 },
  );
  return { ...last, losses };
}

async function main(): Promise<void> {
  const config = writeConfig();
  let relay = await startRelay(config);
  const startedMs = Date.now();
  const crowds = startCrowds();
  const first = await allBack(crowds);
  say("all came in", { sockets: first.size, ms: Date.now() - startedMs, losses: first.losses, relay: usage(relay) });
  for (let kill = 1; kill <= Number(values.kills); kill++) {
    relay.kill("SIGKILL");
    await once(relay, "exit");
    relay = await startRelay(config);
    const listenedMs = Date.now();
    const stopped = new AbortController();
    const probes: Awaited<ReturnType<typeof visit>>[] = [];
    const probed = (async () => {
      for (let n = 0; !stopped.signal.aborted; n++) {
        probes.push(await visit(tenantName(n)));
        await new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS));
      }
    })();
    const { readySince, losses } = await allBack(crowds);
    stopped.abort();
    await probed;
    const backMs = readySince.map((at) => at - listenedMs).sort((a, b) => a - b);
    const good = probes
      .filter(({ status }) => status === 200)
      .map(({ ms }) => ms)
      .sort((a, b) => a - b);
    const bad: Record<string, number> = {};
    for (const { status, code } of probes)
      if (status !== 200) bad[`${status} ${code}`] = (bad[`${status} ${code}`] ?? 0) + 1;
    const p99Ms = quantile(backMs, 0.99);
    say(`back after kill ${kill}`, {
      p50Ms: quantile(backMs, 0.5),
      p99Ms,
      maxMs: quantile(backMs, 1),
      relay: usage(relay),
      losses,
      visits: { good: good.length, p50Ms: quantile(good, 0.5), p99Ms: quantile(good, 0.99), bad },
    });
  }
}

try {
  await main();
} finally {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
