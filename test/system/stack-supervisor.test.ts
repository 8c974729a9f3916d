import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openLedger, readLedger, reapLeftovers } from "../../src/cli/local/ledger.ts";
import type { PartSpec } from "../../src/cli/local/part.ts";
import { isFree } from "../../src/cli/local/ports.ts";
import { probe } from "../../src/cli/local/probe.ts";
import { findProcess } from "../../src/cli/local/process-table.ts";
import { type Supervisor, createSupervisor } from "../../src/cli/local/supervisor.ts";
import { type LogFields, createLogger } from "../../src/shared/log.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";

const part = join(import.meta.dirname, "fixtures/dummy-part.ts");
let dir = "";
let supervisor: Supervisor;
let lines: LogFields[] = [];
const stopped: string[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "causeway-supervisor-"));
  mkdirSync(join(dir, "logs"));
  lines = [];
  stopped.length = 0;
  let before = new Map<string, string>();
  supervisor = createSupervisor({
    logs: join(dir, "logs"),
    ledger: openLedger(join(dir, "pids.json")),
    log: createLogger("supervisor", (line) => lines.push(JSON.parse(line))),
    changed: () => {
      const now = new Map(supervisor.status().map(({ name, state }) => [name, state]));
      for (const [name, state] of now) if (state === "stopped" && before.get(name) !== "stopped") stopped.push(name);
      before = now;
    },
    readyTimeoutMs: 20_000,
    stopTimeoutMs: 1_000,
  });
});
afterEach(async () => {
  await supervisor.stopAll();
  rmSync(dir, { recursive: true, force: true });
});

const file = () => join(dir, "child.pid");
const childPid = () => Number(readFileSync(file(), "utf8"));
const statusOf = (name: string) => supervisor.status().find((one) => one.name === name);
const answers = async (port: number) => (await probe(`http://127.0.0.1:${port}/`, "127.0.0.1")) === 200;

function spec(name: string, port: number, mode = "plain", more: Partial<PartSpec> = {}): PartSpec {
  return {
    name,
    tier: 0,
    command: process.execPath,
    args: [part, mode, String(port), file()],
    ready: () => answers(port),
    groupDiesWithIt: true,
    ...more,
  };
}

test("a killed part is back on its port, shown with its restarts", async () => {
  const [port = 0] = await freePorts(1);
  await supervisor.start(spec("web", port));
  const first = statusOf("web")?.pid ?? 0;
  expect(readLedger(join(dir, "pids.json")).map(({ pid }) => pid)).toEqual([first]);
  process.kill(first, "SIGKILL");
  await until("it is back", () => statusOf("web")?.state === "running" && statusOf("web")?.pid !== first);
  expect(statusOf("web")?.restarts).toBe(1);
  expect(await answers(port)).toBe(true);
  expect(lines.some((line) => line["subject"] === "web" && line["how"] === "SIGKILL")).toBe(true);
});

test("what a part started in its group dies with it", async () => {
  const [port = 0] = await freePorts(1);
  await supervisor.start(spec("web", port, "child"));
  const orphan = childPid();
  process.kill(statusOf("web")?.pid ?? 0, "SIGKILL");
  await until("its child is gone", () => findProcess(orphan) === null);
});

test("unless it is meant to outlive it; a stop ends it all the same", async () => {
  const [port = 0] = await freePorts(1);
  await supervisor.start(spec("web", port, "child", { groupDiesWithIt: false }));
  const first = childPid();
  process.kill(statusOf("web")?.pid ?? 0, "SIGKILL");
  await until("it is back", () => statusOf("web")?.restarts === 1 && statusOf("web")?.state === "running");
  expect(findProcess(first)).not.toBeNull();
  process.kill(first, "SIGKILL");
});

test("a stop ends a part's strays in groups of their own, and leaves no port and no record", async () => {
  const [port = 0] = await freePorts(1);
  await supervisor.start(spec("web", port, "stray"));
  const stray = childPid();
  expect(findProcess(stray)).not.toBeNull();
  await supervisor.stopAll();
  expect(findProcess(stray)).toBeNull();
  expect(await isFree(port)).toBe(true);
  expect(readLedger(join(dir, "pids.json"))).toEqual([]);
});

test("parts stop from the highest tier to the lowest, and a stubborn one is killed in time", async () => {
  const [a = 0, b = 0, c = 0] = await freePorts(3);
  await supervisor.start(spec("database", a, "plain", { tier: 0 }));
  await supervisor.start(spec("stubborn", b, "stubborn", { tier: 2 }));
  await supervisor.start(spec("middle", c, "plain", { tier: 1 }));
  const begin = Date.now();
  await supervisor.stopAll();
  expect(stopped).toEqual(["stubborn", "middle", "database"]);
  expect(Date.now() - begin).toBeLessThan(5_000);
});

test("a part that keeps ending fails the start with its last words", async () => {
  const failing = supervisor.start(spec("broken", 1, "crash"));
  await expect(failing).rejects.toThrow(/broken keeps ending[\s\S]*dummy: about to crash/);
  expect(statusOf("broken")?.state).toBe("crash-loop");
});

test("a program that is not there fails the start too", async () => {
  await expect(supervisor.start(spec("none", 1, "x", { command: join(dir, "no-such-program") }))).rejects.toThrow(
    /none keeps ending/,
  );
});

test("the leftovers of a killed supervisor are found and ended", async () => {
  const [port = 0] = await freePorts(1);
  const killed = join(dir, "killed");
  const script = join(import.meta.dirname, "fixtures/dummy-supervisor.ts");
  const other = spawn(process.execPath, [script, killed, String(port), file()], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => other.stdout.once("data", resolve));
  const exited = new Promise((resolve) => other.once("exit", resolve));
  other.kill("SIGKILL");
  await exited;
  expect(await answers(port)).toBe(true); // Still serving, with nobody in charge.
  const orphan = childPid();
  const reaped = await reapLeftovers(join(killed, "pids.json"), []);
  expect(reaped.map(({ pid }) => pid)).toContain(orphan);
  expect(reaped.length).toBe(2);
  expect(await isFree(port)).toBe(true);
  expect(findProcess(orphan)).toBeNull();
});
