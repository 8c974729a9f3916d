import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readLedger } from "../../src/cli/local/ledger.ts";
import { isFree } from "../../src/cli/local/ports.ts";
import { type ProcessInfo, findProcess, listProcesses } from "../../src/cli/local/process-table.ts";
import { runCli, spawnCli } from "../support/cli.ts";
import { freeEdgePort, startStack, stopStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

// Each start of a stack is ten seconds on a machine that is free, and more on one that is not.
vi.setConfig({ testTimeout: 240_000 });

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "causeway-life-"));
});
afterEach(async () => {
  await stopStack(dir);
  rmSync(dir, { recursive: true, force: true });
});

/** Everything that runs for this stack: its supervisor with all descendants, and whatever works in its folder. */
function processesOf(): ProcessInfo[] {
  const all = listProcesses();
  const recorded = new Set(readLedger(join(dir, "pids.json")).map(({ pid }) => pid));
  const found = new Map<number, ProcessInfo>();
  const take = (process: ProcessInfo) => {
    if (found.has(process.pid)) return;
    found.set(process.pid, process);
    all.filter(({ parentPid }) => parentPid === process.pid).forEach(take);
  };
  all.filter(({ pid, command }) => recorded.has(pid) || command.includes(dir)).forEach(take);
  return [...found.values()];
}

const alive = (processes: readonly ProcessInfo[]) =>
  processes
    .filter(({ pid, startedAt }) => findProcess(pid)?.startedAt === startedAt)
    .map(({ pid, command }) => `${pid} ${command}`);

function portsOf(edgePort: number): number[] {
  const kept: unknown = JSON.parse(readFileSync(join(dir, "ports.json"), "utf8"));
  const values = typeof kept === "object" && kept !== null ? Object.values(kept) : [];
  return [edgePort, edgePort + 1, ...values.filter((port) => typeof port === "number")];
}

async function busyPorts(edgePort: number): Promise<number[]> {
  const free = await Promise.all(portsOf(edgePort).map(isFree));
  return portsOf(edgePort).filter((_, at) => free[at] === false);
}

test("down leaves no process and no port; a second start has all data and the same keys; a killed supervisor's leftovers are ended", async () => {
  // As root Postgres runs as another user, to whom root's own folder for temporary files may be closed.
  const closed = join(dir, "tmp");
  mkdirSync(closed, { mode: 0o700 });
  const first = await startStack(dir, { env: { TMPDIR: closed } });
  const made = await first.cli("tenant", "create", "initech", "--wait");
  expect(made.code, made.stderr).toBe(0);
  const token = first.apiToken;
  const processes = processesOf();
  expect(processes.length).toBeGreaterThan(15); // 10 parts, workerd, three services a tenant, Postgres' own helpers.

  const down = await runCli(["down", "--state-dir", dir]);
  expect([down.code, down.stdout]).toEqual([0, ""]);
  expect(alive(processes)).toEqual([]);
  expect(await busyPorts(first.edgePort)).toEqual([]);
  for (const name of ["local.json", "status.json", "pids.json", "supervisor.json", "workers.json"]) {
    expect(existsSync(join(dir, name)), name).toBe(false);
  }
  const status = await runCli(["status", "--state-dir", dir]);
  expect([status.code, status.stderr]).toEqual([1, expect.stringContaining("causeway up")]);
  expect((await runCli(["down", "--state-dir", dir])).code).toBe(0); // Nothing to do is no failure.

  // On another port: hosts, nodes and connectors follow.
  const second = await startStack(dir);
  expect(second.edgePort).not.toBe(first.edgePort);
  expect(second.apiToken).toBe(token);
  expect(second.nodes).toEqual(first.nodes);
  for (const [host, path] of [
    ["acme", "/app"],
    ["initech", "/app"],
    ["demo--acme", "/"],
  ] as const) {
    expect((await second.request(host, path)).status, host).toBe(200);
  }
  const operations = await second.cli("operation", "list", "--json");
  expect(operations.stdout.match(/"kind":"tenant-create"/g)).toHaveLength(3); // Nothing was seeded again.

  const supervisor = second.pid;
  const orphans = processesOf();
  process.kill(supervisor, "SIGKILL");
  await until("the supervisor is gone", () => findProcess(supervisor) === null);
  expect((await second.request("acme", "/app")).status).toBe(200); // Still serving, with nobody in charge.
  const unattended = await runCli(["status", "--state-dir", dir]);
  expect([unattended.code, unattended.stderr]).toEqual([1, expect.stringContaining("causeway down")]);

  const third = await startStack(dir, { edgePort: second.edgePort });
  expect(alive(orphans)).toEqual([]);
  expect((await third.request("initech", "/app")).json()).toMatchObject({ tenant: "initech" });

  process.kill(third.pid, "SIGKILL");
  await until("the supervisor is gone", () => findProcess(third.pid) === null);
  const rest = processesOf();
  expect((await runCli(["down", "--state-dir", dir])).code).toBe(0);
  expect(alive(rest)).toEqual([]);
  expect(await busyPorts(third.edgePort)).toEqual([]);
});

test("in the foreground: progress, addresses, the demo warning; Ctrl-C stops everything with exit 130", async () => {
  const port = await freeEdgePort();
  const up = spawnCli(["up", "--port", String(port), "--state-dir", dir]);
  const said = { out: "", err: "" };
  up.stdout.setEncoding("utf8").on("data", (text: string) => (said.out += text));
  up.stderr.setEncoding("utf8").on("data", (text: string) => (said.err += text));
  await until("the stack is up", () => said.out.includes("Ctrl-C stops everything"), { timeoutMs: 120_000 });
  expect(said.err).toMatch(/✓ start Postgres \(\d+\.\d s\)[\s\S]*✓ connect the demo site/);
  expect(said.out).toContain(`http://127.0.0.1:${port}`);
  expect(said.out).toContain(`curl http://acme.causeway.localhost:${port}/app`);
  expect(said.out).toContain("NOT FOR PRODUCTION");
  expect(said.out).toMatch(/demo@acme\.example {2}password \S{16}/);
  expect(said.out).not.toContain("cwt_");
  const processes = processesOf();
  const closed = new Promise<number | null>((resolve) => up.once("close", resolve));
  up.kill("SIGINT");
  up.kill("SIGINT"); // The terminal's and the starter's: one Ctrl-C.
  expect(await closed).toBe(130);
  expect(alive(processes)).toEqual([]);
  expect(await busyPorts(port)).toEqual([]);
});

test("a start that is interrupted stops what it had begun", async () => {
  const port = await freeEdgePort();
  const up = spawnCli(["up", "--port", String(port), "--state-dir", dir]);
  const closed = new Promise<number | null>((resolve) => up.once("close", resolve));
  await until("Postgres runs", () => readLedger(join(dir, "pids.json")).some(({ part }) => part === "postgres"), {
    timeoutMs: 60_000,
  });
  const processes = processesOf();
  up.kill("SIGINT");
  expect(await closed).toBe(130);
  expect(alive(processes)).toEqual([]);
  expect(await busyPorts(port)).toEqual([]);
});

test("a port in use is named, exit 4, and nothing is left half started", async () => {
  const port = await freeEdgePort();
  for (const taken of [port, port + 1]) {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(taken, "127.0.0.1", resolve));
    const refused = await runCli(["up", "--port", String(port), "--state-dir", dir]);
    await new Promise((resolve) => other.close(resolve));
    expect([refused.code, refused.stdout]).toEqual([4, ""]);
    expect(refused.stderr).toContain(`port ${taken}`);
    expect(processesOf()).toEqual([]);
  }
});

test("a missing Envoy is named with what to do, exit 4", async () => {
  const port = await freeEdgePort();
  const refused = await runCli(["up", "--port", String(port), "--state-dir", dir], {
    ENVOY_BIN: join(dir, "no-envoy"),
  });
  expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining("ENVOY_BIN")]);
  expect(processesOf()).toEqual([]);
});

test("without the keys the data is not touched, and --fresh starts anew", async () => {
  const port = await freeEdgePort();
  const first = await startStack(dir, { edgePort: port });
  await first.cli("tenant", "create", "initech", "--wait");
  await stopStack(dir);
  rmSync(join(dir, "secrets.json"));
  const refused = await runCli(["up", "--port", String(port), "--state-dir", dir]);
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("--fresh")]);
  const fresh = await startStack(dir, { edgePort: port, flags: ["--fresh"] });
  expect((await fresh.request("initech", "/app")).status).toBe(404);
  expect((await fresh.request("acme", "/app")).status).toBe(200);
  expect(fresh.apiToken).not.toBe(first.apiToken);
});

test("wrong flags are exit 2 before anything starts; --hosts only prints", async () => {
  for (const flags of [["--port", "0"], ["--port", "65535"], ["--port", "x"], ["--nope"], ["extra"]]) {
    const refused = await runCli(["up", "--state-dir", join(dir, "none"), ...flags]);
    expect([refused.code, refused.stdout], flags.join(" ")).toEqual([2, ""]);
  }
  expect(existsSync(join(dir, "none"))).toBe(false);
  const hosts = await runCli(["up", "--hosts", "--state-dir", dir]);
  expect(hosts.stdout.split("\n")).toEqual(
    expect.arrayContaining(["127.0.0.1 acme.causeway.localhost", "127.0.0.1 relay.causeway.localhost"]),
  );
});

test("bin/causeway.js passes arguments, output and exit code on", () => {
  const bin = join(import.meta.dirname, "../../bin/causeway.js");
  expect(execFileSync(process.execPath, [bin, "--version"], { encoding: "utf8" }).trim()).toMatch(/^\d+\.\d+\.\d+$/);
  expect(() => execFileSync(process.execPath, [bin, "nope"], { stdio: "ignore" })).toThrow(
    expect.objectContaining({ status: 2 }),
  );
});
