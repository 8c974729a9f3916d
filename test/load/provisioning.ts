import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import postgres from "postgres";
import { z } from "zod";
import { createApi } from "../../src/cli/api/client.ts";
import { localStack } from "../../src/cli/local/local-json.ts";
import { runCli } from "../support/cli.ts";
import { until } from "../support/until.ts";
import { cpuSeconds } from "../../bench/core/cpu.ts";
import { listProcesses } from "../../src/cli/local/process-table.ts";
import { readStatus } from "../../src/cli/local/status-file.ts";
import { isFree } from "../../src/cli/local/ports.ts";

/**
 * node test/load/provisioning.ts --tenants 1000 --connections 16
 *
 * Tenants made in a row on a local stack of its own, with its two nodes (real Envoys) and a service that runs elsewhere (driver external):
 * API, queue, PostgreSQL schema and role, push until the node has seen a request, publication. Prints as JSON how many came up a second, from
 * the first request to the end of the last operation, and how long each step took; exit code 1 when one is stuck or failed. Times are the
 * operations' own, as the API shows them.
 */
const { values } = parseArgs({
  options: {
    tenants: { type: "string", default: "1000" },
    connections: { type: "string", default: "16" },
    keep: { type: "boolean", default: false },
  },
});
const tenants = Number(values.tenants);
const connections = Number(values.connections);
const STUCK_MS = 60_000 + tenants * 500;

const created = z.object({ operation: z.looseObject({ id: z.string() }) });
const service = createServer((_request, response) => response.end("ok")).listen(0, "127.0.0.1");
await new Promise((resolve) => service.once("listening", resolve));
const address = service.address();
const servicePort = address === null || typeof address === "string" ? 0 : address.port;

/** Below the ephemeral range; the console's is the next one. */
async function edgePort(): Promise<number> {
  for (let port = 10_100; ; port += 2) if ((await isFree(port)) && (await isFree(port + 1))) return port;
}

const stateDir = mkdtempSync(join(tmpdir(), "cw-provisioning-"));
const up = await runCli(["up", "--detach", "--port", String(await edgePort()), "--state-dir", stateDir]);
if (up.code !== 0) throw new Error(`the stack did not start:\n${up.stderr}`);
try {
  const local = localStack.parse(JSON.parse(readFileSync(join(stateDir, "local.json"), "utf8")));
  const api = createApi({ url: local.consoleUrl, token: local.apiToken });
  const sql = postgres(local.databaseUrl, { max: 2, onnotice: () => {} });
  await sql`update control.nodes set capacity = 100000`;
  const driver = { kind: "external", address: "127.0.0.1", port: servicePort };
  const entry = { driver, needsSchema: true, routes: [{ prefix: "/", access: "public" }] };
  await api.put("/clusters/default/services/elsewhere", entry, z.looseObject({}));

  const before = await databaseUse(sql);
  const cpuBefore = cpuByPart();
  const startedMs = Date.now();
  let next = 0;
  const apiMs: number[] = [];
  const client = async (): Promise<void> => {
    while (next < tenants) {
      const slug = `made-${next++}`;
      const askedMs = performance.now();
      await api.post("/tenants", { slug, services: ["elsewhere"] }, created);
      apiMs.push(performance.now() - askedMs);
    }
  };
  await Promise.all(Array.from({ length: connections }, client));
  const askedSeconds = (Date.now() - startedMs) / 1000;
  const open = async (): Promise<number> => {
    const [row] = await sql<{ n: number }[]>`select count(*)::int as n from control.operations
      where kind = 'tenant-create' and state in ('pending', 'running')`;
    return row?.n ?? 0;
  };
  const stuck = await until("all to have ended", async () => (await open()) === 0 || null, {
    timeoutMs: STUCK_MS,
    intervalMs: 500,
  }).then(
    () => 0,
    () => open(),
  );
  const rows = await sql<{ name: string; ms: number }[]>`
    select step.name, extract(epoch from step.finished_at - step.started_at)::float8 * 1000 as ms
    from control.operation_steps step join control.operations on id = operation_id
    where kind = 'tenant-create' and subject_id in (select id from control.tenants where slug like 'made-%')
      and step.finished_at is not null`;
  const whole = await sql<{ ms: number; waited: number; state: string; attempts: number; end: Date }[]>`
    select extract(epoch from finished_at - created_at)::float8 * 1000 as ms,
      extract(epoch from started_at - created_at)::float8 * 1000 as waited, state, attempts, finished_at as end
    from control.operations where kind = 'tenant-create'
      and subject_id in (select id from control.tenants where slug like 'made-%')`;
  const endMs = Math.max(...whole.map(({ end }) => end.getTime()));
  const cpuAfter = cpuByPart();
  const after = await databaseUse(sql);
  const byStep = Map.groupBy(rows, ({ name }) => name);
  const report = {
    tenants,
    connections,
    perSecond: round((tenants * 1000) / (endMs - startedMs)),
    seconds: round((endMs - startedMs) / 1000),
    secondsUntilLastWasAsked: round(askedSeconds),
    stuck,
    failed: whole.filter(({ state }) => state === "failed").length,
    attemptsThatFailed: whole.reduce((sum, { attempts }) => sum + attempts, 0),
    cpuMsPerTenant: Object.fromEntries(
      [...cpuAfter].map(([part, seconds]) => [part, round(((seconds - (cpuBefore.get(part) ?? 0)) * 1000) / tenants)]),
    ),
    connectionsPerTenant: round((after.sessions - before.sessions) / tenants),
    transactionsPerTenant: round((after.transactions - before.transactions) / tenants),
    api: spread(apiMs),
    waitForTheQueue: spread(whole.map(({ waited }) => waited)),
    steps: Object.fromEntries([...byStep].map(([name, list]) => [name, spread(list.map(({ ms }) => ms))])),
    fromRequestToActive: spread(whole.map(({ ms }) => ms)),
  };
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  process.exitCode = stuck + report.failed === 0 ? 0 : 1;
  await sql.end();
} finally {
  if (values.keep) process.stderr.write(`kept: ${stateDir}\n`);
  else {
    await runCli(["down", "--state-dir", stateDir]);
    rmSync(stateDir, { recursive: true, force: true });
  }
  service.closeAllConnections();
  service.close();
}

/** Connections and transactions so far, in all databases; the server counts one when it ends. */
async function databaseUse(sql: postgres.Sql): Promise<{ sessions: number; transactions: number }> {
  const [row] = await sql<{ sessions: number; transactions: number }[]>`
    select sum(sessions)::int as sessions, sum(xact_commit)::int as transactions from pg_stat_database`;
  return row ?? { sessions: 0, transactions: 0 };
}

/** CPU seconds by part of the stack, with all that it started; processes that have ended are those of their parents. */
function cpuByPart(): Map<string, number> {
  const processes = listProcesses();
  const ofTree = (pid: number): number =>
    (cpuSeconds(pid, { withEnded: true }) ?? 0) +
    processes.reduce((sum, child) => (child.parentPid === pid ? sum + ofTree(child.pid) : sum), 0);
  const { parts } = readStatus(join(stateDir, "status.json")) ?? { parts: [] };
  return new Map(parts.map(({ name, pid }) => [name, pid === null ? 0 : ofTree(pid)]));
}

/** Milliseconds. */
function spread(list: readonly number[]): Readonly<Record<string, number>> {
  const sorted = list.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
