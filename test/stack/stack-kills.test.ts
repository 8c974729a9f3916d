import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listProcesses } from "../../src/cli/local/process-table.ts";
import { spawnCli } from "../support/cli.ts";
import { goFirst } from "../support/priority.ts";
import { type TestStack, startStack, stopStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

// Each part is killed once, while requests run, on a stack of this file's own.
const dir = mkdtempSync(join(tmpdir(), "causeway-kills-"));
let stack: TestStack;
beforeAll(async () => {
  goFirst();
  stack = await startStack(dir);
});
afterAll(async () => {
  await stopStack(dir);
  rmSync(dir, { recursive: true, force: true });
});

const PATHS = {
  acme: ["acme", "/app"],
  globex: ["globex", "/app"],
  site: ["demo--acme", "/"],
} as const;
type Visitor = keyof typeof PATHS;
const VISITORS = ["acme", "globex", "site"] as const;

interface Seen {
  readonly atMs: number;
  readonly ok: boolean;
  readonly what: string;
}

/** Visits all three addresses without a pause, until stopped. */
function visit(): { seen: Record<Visitor, Seen[]>; stop: () => Promise<void> } {
  const seen: Record<Visitor, Seen[]> = { acme: [], globex: [], site: [] };
  const over = new AbortController();
  const visitor = async (name: Visitor) => {
    const [host, path] = PATHS[name];
    while (!over.signal.aborted) {
      const what = await stack.request(host, path, { timeoutMs: 5_000 }).then(
        (answer) => String(answer.status),
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
      seen[name].push({ atMs: Date.now(), ok: what === "200", what });
      await delay(10);
    }
  };
  const all = Promise.all(VISITORS.map(visitor));
  return {
    seen,
    stop: async () => {
      over.abort();
      await all;
    },
  };
}

const partOf = (name: string) => stack.parts().find((part) => part.name === name);

/** Kills a part while visitors come, waits until it is back and everything answers again, and says what visitors saw. */
async function kill(name: string): Promise<{ failures: Record<Visitor, string[]>; goodAfterMs: number }> {
  const before = partOf(name);
  const visits = visit();
  await until("visitors are served", () => VISITORS.every((visitor) => visits.seen[visitor].some(({ ok }) => ok)));
  const killedAtMs = Date.now();
  process.kill(before?.pid ?? 0, "SIGKILL");
  await until(`${name} is back`, () => {
    const now = partOf(name);
    return now?.state === "running" && now.pid !== before?.pid && now.restarts > (before?.restarts ?? 0);
  });
  const backAtMs = Date.now();
  await until("visitors are served again", () =>
    VISITORS.every((visitor) => visits.seen[visitor].some(({ ok, atMs }) => ok && atMs > backAtMs)),
  );
  await visits.stop();
  const after = (visitor: Visitor) => visits.seen[visitor].filter(({ atMs }) => atMs >= killedAtMs);
  const failures = (visitor: Visitor) => after(visitor).flatMap(({ ok, what }) => (ok ? [] : [what]));
  const firstGood = VISITORS.map((visitor) => {
    const lastBad = Math.max(killedAtMs, ...after(visitor).flatMap(({ ok, atMs }) => (ok ? [] : [atMs])));
    return (after(visitor).find(({ ok, atMs }) => ok && atMs >= lastBad)?.atMs ?? Infinity) - killedAtMs;
  });
  return {
    failures: { acme: failures("acme"), globex: failures("globex"), site: failures("site") },
    goodAfterMs: Math.max(...firstGood),
  };
}

test.each([
  ["postgres", []],
  ["agent-walter-white", []],
  ["agent-hank-schrader", []],
  ["envoy-walter-white", ["acme"]],
  ["envoy-hank-schrader", ["globex"]],
  ["target-demo", ["site"]],
] as const)("%s killed: it comes back by itself, and only who depends on it may notice", async (part, mayNotice) => {
  const { failures } = await kill(part);
  for (const visitor of VISITORS) {
    if (!(mayNotice as readonly string[]).includes(visitor)) expect(failures[visitor], visitor).toEqual([]);
  }
});

test.each(["connector-plant-1-a", "connector-plant-1-b"])(
  "%s killed: the other instance carries the site",
  async (part) => {
    const { failures } = await kill(part);
    expect([failures.acme, failures.globex]).toEqual([[], []]);
    // What the killed one was working on is lost with it, nothing else.
    expect(failures.site.length).toBeLessThanOrEqual(1);
  },
);

test.each(["workerd", "workers"])(
  "%s killed: it carries all, and the first good answer comes within 5 s",
  async (part) => {
    const { goodAfterMs } = await kill(part);
    expect(goodAfterMs).toBeLessThan(5_000);
  },
);

test("while the database stands still, visitors are served and connectors get tokens and come in; operators are told, and it goes on by itself (R12)", async () => {
  const file = join(dir, "degraded.json");
  const made = await stack.cli("connector", "create", "globex", "degraded", "--secret", "--out", file);
  expect(made.code, made.stderr).toBe(0);
  const visits = visit();
  const pid = partOf("postgres")?.pid ?? 0;
  // The server and its sessions, of which console and provisioner have some open.
  const signalAll = (signal: NodeJS.Signals) => {
    for (const one of listProcesses()) if (one.pid === pid || one.parentPid === pid) process.kill(one.pid, signal);
  };
  let child: ChildProcess | null = null;
  signalAll("SIGSTOP");
  try {
    child = spawnCli(["connect", "--credentials", file, "--target", "ping", "--state-dir", dir]);
    await until("the new connector to serve", async () => (await stack.request("ping--globex", "/")).status === 200);
    // One that is lost comes back.
    process.kill(partOf("connector-plant-1-a")?.pid ?? 0, "SIGKILL");
    await until("it is back", () => partOf("connector-plant-1-a")?.state === "running");
    const discovery = await stack.request("relay", "/.well-known/relayserver-configuration");
    expect(discovery.status).toBe(200);
    const asked = await fetch(`${stack.consoleUrl}/api/v1/tenants`, {
      headers: { authorization: `Bearer ${stack.apiToken}` },
      signal: AbortSignal.timeout(20_000),
    });
    expect([asked.status, asked.headers.get("causeway-error")]).toEqual([503, "not-available"]);
  } finally {
    signalAll("SIGCONT");
    child?.kill("SIGKILL");
  }
  await until("operators are answered", async () => (await stack.cli("tenant", "list", "--json")).code === 0);
  await visits.stop();
  const failures = VISITORS.map((name) => visits.seen[name].flatMap(({ ok, what }) => (ok ? [] : [what])));
  expect(failures.map((seen) => seen.length <= 1)).toEqual([true, true, true]);
  expect(failures.slice(0, 2)).toEqual([[], []]);
  expect((await stack.cli("connector", "delete", "globex", "degraded", "--force", "--wait")).code).toBe(0);
});

test("what was announced when workerd died is done after it is back: the outbox is swept", async () => {
  const made = await fetch(`${stack.consoleUrl}/api/v1/tenants`, {
    method: "POST",
    headers: { authorization: `Bearer ${stack.apiToken}`, "content-type": "application/json" },
    body: JSON.stringify({ slug: "umbrella" }),
  });
  process.kill(partOf("workerd")?.pid ?? 0, "SIGKILL");
  expect(made.status).toBe(202);
  await until("the tenant is served", async () => (await stack.request("umbrella", "/app")).status === 200, {
    timeoutMs: 45_000,
  });
});

test("nothing provisioned is lost by all that", async () => {
  const tenants = (await stack.cli("tenant", "list", "--json")).stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(tenants.map(({ slug, state }) => [slug, state])).toEqual([
    ["acme", "active"],
    ["globex", "active"],
    ["umbrella", "active"],
  ]);
  for (const name of stack.parts().map((part) => part.name)) expect(partOf(name)?.state, name).toBe("running");
  expect(stack.log("supervisor")).toContain('"how":"SIGKILL"');
});
