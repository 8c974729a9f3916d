import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LIMITS } from "../../src/edge-router/limits.ts";
import { until } from "../support/until.ts";
import { send, type Answer } from "./edge/browser.ts";
import { startTestNode, type TestNode } from "./edge/origin.ts";
import { BASE, tenantRecord, toService } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// What a request asks of the directory, counted at the real directory objects behind the real edge on workerd.
const WALTER = "nod_walter";
let stack: EdgeStack;
let walter: TestNode;

beforeAll(async () => {
  stack = await startEdgeStack("postgres://nobody:nothing@127.0.0.1:1/none");
  walter = await startTestNode(WALTER, stack.proofKey);
});
afterAll(async () => {
  await stack.stop();
  await walter.stop();
});

const node = () => ({ id: WALTER, url: walter.url });
const ask = (host: string, path: string): Promise<Answer> => send(stack.port, { host: `${host}:${stack.port}`, path });

/** Reads of the directory while `work` goes on. */
async function readsOf(work: () => Promise<unknown>): Promise<number> {
  const before = await stack.directoryReads();
  await work();
  return (await stack.directoryReads()) - before;
}

describe("an isolate that does not know a host", () => {
  test("reads the directory once for its first request, whichever part answers, and not again while that is fresh", async () => {
    const custom = "shop.customer.example";
    await stack.publish(tenantRecord("cold", node()));
    await stack.publish(tenantRecord("cold", node(), { host: custom, routes: [toService("/app", "member")] }));
    for (const slug of ["cold-target", "cold-relay"]) await stack.publish(tenantRecord(slug, node()));
    for (const [host, path, status] of [
      [`cold.${BASE}`, "/app", 200],
      [`cold.${BASE}`, "/nothing", 404],
      // Protected: who asks is judged by the same record.
      [custom, "/app", 401],
      [`echo--cold-target.${BASE}`, "/", 200],
      [`relay.${BASE}`, "/relay/cold-relay/echo/", 200],
      [`nobody-has-this.${BASE}`, "/", 404],
    ] as const) {
      const isKnown = path === "/nothing";
      let answer: Answer | undefined;
      expect(await readsOf(async () => (answer = await ask(host, path))), `${host}${path}`).toBe(isKnown ? 0 : 1);
      expect(answer?.status, `${host}${path}`).toBe(status);
    }
  });

  test("reads it for hosts that can't be a tenant's only to learn whether the platform is closed", async () => {
    for (const host of [BASE, `a.b.${BASE}`, `www.${BASE}`, "127.0.0.1", "[::1]", `x--y--z.${BASE}`])
      expect(await readsOf(() => ask(host, "/")), host).toBeLessThanOrEqual(1);
  });

  test("reads it once for a crowd that comes at the same time", async () => {
    await stack.publish(tenantRecord("crowded", node()));
    const statuses = new Set<number>();
    const reads = await readsOf(() =>
      Promise.all(Array.from({ length: 50 }, async () => statuses.add((await ask(`crowded.${BASE}`, "/app")).status))),
    );
    expect([...statuses]).toEqual([200]);
    expect(reads).toBe(1);
  });

  test("goes on with that read for the others when the visitor who caused it hangs up", async () => {
    await stack.publish(tenantRecord("left-alone", node()));
    const host = `left-alone.${BASE}`;
    // Long enough for the others to come while it is under way.
    await stack.setDirectoryDelay(150);
    let answers: Answer[] = [];
    let tookMs = 0;
    const reads = await readsOf(async () => {
      const before = await stack.directoryReads();
      const startMs = Date.now();
      const first = connect(stack.port, "127.0.0.1").on("error", () => undefined);
      first.write(`POST /app HTTP/1.1\r\nhost: ${host}:${stack.port}\r\ncontent-length: 5\r\n\r\n12345`);
      await until("the first visitor's lookup began", async () => (await stack.directoryReads()) > before);
      const others = Array.from({ length: 20 }, () => ask(host, "/app"));
      first.destroy();
      answers = await Promise.all(others);
      tookMs = Date.now() - startMs;
    });
    await stack.setDirectoryDelay(0);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    // On a machine that takes longer than they wait for somebody else's read, they ask for themselves.
    if (tookMs < LIMITS.sharedLookupMs) expect(reads).toBe(1);
  });
});

test(
  "busy hosts are read behind requests, about once in three seconds, and no request waits for it",
  { timeout: 30_000 },
  async () => {
    const host = `busy.${BASE}`;
    await stack.publish(tenantRecord("busy", node()));
    await ask(host, "/app");
    let requests = 0;
    const reads = await readsOf(async () => {
      const endMs = Date.now() + 7_000;
      while (Date.now() < endMs) {
        expect((await ask(host, "/app")).status).toBe(200);
        requests += 1;
      }
    });
    expect(requests).toBeGreaterThan(20);
    expect(reads).toBeGreaterThanOrEqual(1);
    expect(reads).toBeLessThanOrEqual(3);
  },
);
