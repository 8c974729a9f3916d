import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PROOF_TIMEOUT_MS } from "../../src/connector/limits.ts";
import { parseTargets } from "../../src/connector/main.ts";
import { startTcpGate, type TcpGate } from "../support/tcp-gate.ts";
import { until } from "../support/until.ts";
import { startTestRelay, type TestRelay } from "./connector/relay.ts";
import { createSite, type Site } from "./connector/site.ts";

// Networks that lie: sockets that look open and carry nothing, links that are cut and come back.
const PING = [{ kind: "ping", name: "ping" }] as const;
let relay: TestRelay;
let gate: TcpGate;
let site: Site;
let skewMs: number;
let sleptMs: number;

beforeEach(async () => {
  relay = await startTestRelay();
  gate = await startTcpGate(relay.port);
  skewMs = 0;
  sleptMs = 0;
  site = createSite({ skewMs: () => skewMs, sleptMs: () => sleptMs });
});
afterEach(async () => {
  await site.close();
  await gate.close();
  await relay.stop();
});

const start = () => site.connector({ relay: relay.url.replace(/[0-9]+$/, String(gate.port)), targets: [...PING] });
const both = () => Promise.all([relay.link("a"), relay.link("b")]);

describe("a black hole", () => {
  test("is found after a sleep within seconds, though every socket looks open, and new links are there when it ends", async () => {
    const connector = start();
    const [a] = await both();
    gate.freeze();
    sleptMs = 3_600_000; // the machine wakes up on a network that forgot its connections
    const frozenAtMs = Date.now();
    await until("the links to be given up", () => !connector.ready);
    expect(Date.now() - frozenAtMs).toBeLessThan(PROOF_TIMEOUT_MS + 5_000);
    expect(site.log.join("\n")).toContain("nothing comes through");
    gate.thaw();
    const backAtMs = Date.now();
    const again = await relay.link("a", { not: a });
    expect(Date.now() - backAtMs).toBeLessThan(10_000);
    expect(await again.open({ target: "ping" }).text()).toBe("PONG\n");
  });

  test("is found by the data path's echo while requests are open", async () => {
    const waits = await site.target(() => undefined);
    const parsed = parseTargets([`slow=${waits}`]);
    if (!parsed.ok) throw new Error(parsed.error);
    const connector = site.connector({
      relay: relay.url.replace(/[0-9]+$/, String(gate.port)),
      targets: parsed.value,
      lanes: ["a"],
    });
    const link = await relay.link("a");
    const open = link.open({ target: "slow" });
    await until("it to be under way", () => connector.links()[0]?.openStreams === 1);
    gate.freeze();
    skewMs += 6_000; // silence: the heartbeat asks
    await until("the question", () => {
      skewMs += 100;
      return skewMs > 30_000;
    });
    await until("the link to be given up", () => !connector.ready);
    expect(connector.links()[0]?.openStreams).toBe(0); // the stream ended with it
    gate.thaw();
    open.stream.reset("cancelled", "");
  });
});

test("a sleep that the connections survived costs nothing", async () => {
  const connector = start();
  const [a, b] = await both();
  sleptMs = 3_600_000;
  await until("the links to be proved", () => site.log.some((line) => line.includes("links are proved")));
  await until("both to have answered", () => connector.links().every(({ rttMs }) => rttMs !== null));
  expect([a.closed, b.closed, relay.dials.length]).toEqual([null, null, 2]);
});

test("after a cut everything is back within 10 s, announced once", async () => {
  const connector = start();
  const [a] = await both();
  await gate.shut();
  await until("both to be down", () => !connector.ready);
  await gate.open();
  const atMs = Date.now();
  const [one, other] = await Promise.all([relay.link("a", { not: a }), relay.link("b")]);
  expect(Date.now() - atMs).toBeLessThan(10_000);
  for (const link of [one, other]) expect([link.peer.targets, link.announcements]).toEqual([["ping"], 0]);
  await until("both to be ready", () => connector.links().every(({ state }) => state === "ready"));
});
