import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { startLanes, type Lanes } from "./connector/lanes.ts";
import { createSite, web, type Site } from "./connector/site.ts";

// The same for the lanes on workerd: the runtime stands still, and objects are evicted in the middle of streams. Its kill: stack-kills.test.ts.
const MIB = 1024 * 1024;
const BODY = Buffer.alloc(4 * MIB, "0123456789abcdef");
const FROZEN_MS = 3_000;
const TIMEOUT_MS = 60_000;

let lanes: Lanes;
let site: Site;
let target: string;
/** Answers of the target that have begun and wait for `finish`. */
let begun: ServerResponse[] = [];

beforeAll(async () => {
  lanes = await startLanes();
});
afterAll(() => lanes.stop());

beforeEach(async () => {
  begun = [];
  site = createSite();
  await lanes.grant(site.publicKey);
  target = await site.target((request, response) => {
    if (request.url === "/half") {
      response.setHeader("content-length", BODY.length);
      response.write(BODY.subarray(0, MIB));
      begun.push(response);
    } else response.end("ok");
  });
});
afterEach(() => site.close());

const finish = (): void => begun.forEach((response) => response.end(BODY.subarray(MIB)));

const connected = async () => {
  const connector = site.connector({ relay: lanes.relayUrl, targets: [web("own", target)], instanceId: "i1" });
  await until("it is on both lanes", async () =>
    (await Promise.all([lanes.online("a"), lanes.online("b")])).every((ids) => ids.includes("i1")),
  );
  return connector;
};

function visit(path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { "x-target": "own", "x-lane": "a" };
    const asked = httpRequest({ host: "127.0.0.1", port: lanes.port, path, headers, agent: false }, resolve);
    asked.on("error", reject);
    asked.end();
  });
}

/** The body's hash; null: it was cut. */
async function hashOf(response: IncomingMessage): Promise<string | null> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) hash.update(chunk);
  } catch {
    return null;
  }
  return response.complete ? hash.digest("hex") : null;
}
const WHOLE = createHash("sha256").update(BODY).digest("hex");
const isGood = async (): Promise<boolean> => {
  const response = await visit("/");
  response.resume();
  return response.statusCode === 200;
};

/** The workerd of this process, by its parents. Linux only. */
function workerd(): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      const [, parent = "0"] = /^PPid:\s+([0-9]+)$/m.exec(readFileSync(`/proc/${name}/status`, "utf8")) ?? [];
      parents.set(Number(name), Number(parent));
    } catch {
      // It ended meanwhile.
    }
  }
  const isOurs = (pid: number): boolean => pid === process.pid || (pid > 1 && isOurs(parents.get(pid) ?? 0));
  return [...parents.keys()].filter((pid) => isOurs(pid) && commandOf(pid).endsWith("workerd"));
}

const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0] ?? "";

test.skipIf(!existsSync("/proc/self/status"))(
  "workerd stands still for a moment: nothing is lost, and no connector dials again",
  { timeout: TIMEOUT_MS },
  async () => {
    const connector = await connected();
    const half = await visit("/half");
    const body = hashOf(half);
    const pids = workerd();
    expect(pids).not.toEqual([]);
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    const meanwhile = visit("/");
    finish();
    await delay(FROZEN_MS); // as long as it stands still: that is the case
    for (const pid of pids) process.kill(pid, "SIGCONT");
    expect(await body).toBe(WHOLE);
    const response = await meanwhile;
    response.resume();
    expect(response.statusCode).toBe(200);
    expect(connector.links()).toMatchObject([
      { state: "ready", losses: 0 },
      { state: "ready", losses: 0 },
    ]);
  },
);

test.for(["hibernate", "close"] as const)(
  "an object is evicted in the middle of an answer: that ends soon, whole or visibly cut, and the lane serves again (sockets: %s)",
  { timeout: TIMEOUT_MS },
  async (webSockets) => {
    const connector = await connected();
    const half = await visit("/half");
    expect(half.statusCode).toBe(200);
    const body = hashOf(half);
    await until("the target has begun", () => begun.length === 1);
    const evictedAtMs = performance.now();
    const evicted = lanes.evict("a", webSockets);
    finish();
    expect([WHOLE, null]).toContain(await body);
    await evicted;
    await until("a good answer", isGood, { timeoutMs: 10_000 });
    expect(performance.now() - evictedAtMs).toBeLessThan(10_000);
    expect((await Promise.all([lanes.online("a"), lanes.online("b")])).flat()).toEqual(["i1", "i1"]);
    expect(connector.links()).toMatchObject([
      { state: "ready", losses: webSockets === "close" ? 1 : 0 },
      { losses: 0 },
    ]);
  },
);
