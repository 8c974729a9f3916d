import { generateKeyPairSync } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { startCrowd, type Crowd, type CrowdMember } from "../support/connector-crowd.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";
import { startRelayHost, type RelayHost } from "./relay-node/host.ts";

// A fleet that dials at once, in the size of a test: real links, dials, signatures and sockets. 10,000: test/load/reconnect.ts.
const CONNECTORS = 250;
const TENANTS = 10;
/** Everybody's first pause is short, and this many are proved in about a second even on a busy machine. */
const BACK_MS = 20_000;
const VISIT_EVERY_MS = 20;
/** A visitor meanwhile gets an answer, good or not, well before it would give up. */
const VISIT_MAX_MS = 5_000;

const { x = "", d = "" } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
const key = { keyId: "key-1", privateKey: { kty: "OKP", crv: "Ed25519", x, d } } as const;
const tenantName = (n: number): string => `tenant-${n % TENANTS}`;
const tenants = Object.fromEntries(
  Array.from({ length: TENANTS }, (_, n) => [
    tenantName(n),
    {
      routes: [{ prefix: "/", target: "ping" }],
      connectors: { site: { keys: [{ kty: "OKP", crv: "Ed25519", x, kid: "key-1" }] } },
    },
  ]),
);
const members = Array.from({ length: CONNECTORS }, (_, n): CrowdMember => ({
  tenant: tenantName(n),
  connector: "site",
  instance: `i${n}`,
  lanes: ["a", "b"],
}));

let relay: RelayHost | null = null;
let crowd: Crowd | null = null;
afterAll(async () => {
  crowd?.stop();
  await relay?.stop();
});

test("a fleet that comes back at once after the relay's kill is back within seconds, and visitors are answered meanwhile", async () => {
  const [port = 0, adminPort = 0] = await freePorts(2);
  const start = () => startRelayHost({ accessLog: false, tenants }, { port, adminPort });
  relay = await start();
  crowd = startCrowd({ relayUrl: relay.url, key, members });
  const fleet = crowd;
  await until("all came in", () => fleet.ready === 2 * CONNECTORS, { timeoutMs: BACK_MS });

  relay.child.kill("SIGKILL");
  await relay.exit;
  await until("everybody noticed", () => fleet.ready === 0);
  relay = await start();
  const listensAtMs = Date.now();
  const over = new AbortController();
  const visits: { status: number; code: unknown; ms: number; atMs: number }[] = [];
  const visiting = (async () => {
    for (let n = 0; !over.signal.aborted; n++) {
      const startedMs = Date.now();
      const { status, headers } = await (relay?.ask(tenantName(n), "/") ?? Promise.reject(new Error("no relay")));
      visits.push({ status, code: headers["causeway-error"], ms: Date.now() - startedMs, atMs: startedMs });
      await delay(VISIT_EVERY_MS);
    }
  })();
  await until("all are back", () => fleet.ready === 2 * CONNECTORS, { timeoutMs: BACK_MS });
  const wholeAtMs = Date.now();
  await until("visits with everybody there", () => visits.some(({ atMs }) => atMs > wholeAtMs));
  over.abort();
  await visiting;

  expect(Math.max(...fleet.readySince()) - listensAtMs).toBeLessThan(BACK_MS);
  // No ghost, and nobody twice.
  const sessions = await relay.sessions();
  expect(new Set(sessions.map(({ lane, instanceId }) => `${lane} ${instanceId}`)).size).toBe(2 * CONNECTORS);
  expect(sessions).toHaveLength(2 * CONNECTORS);
  for (const { status, code } of visits) expect([200, "no-connector"]).toContain(status === 200 ? status : code);
  expect(visits.filter(({ atMs, status }) => atMs >= wholeAtMs && status !== 200)).toEqual([]);
  expect(Math.max(...visits.map(({ ms }) => ms))).toBeLessThan(VISIT_MAX_MS);
});
