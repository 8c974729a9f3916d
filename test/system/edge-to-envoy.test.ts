import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { countRefused } from "../../src/node-agent/envoy/refused.ts";
import { renderTenant } from "../../src/node-agent/envoy/render.ts";
import { serveHealth } from "../../src/node-agent/health.ts";
import { encodeTenant } from "../../src/node-agent/xds/codec.ts";
import { startChild, stopChildren } from "../support/children.ts";
import { newProofKey, startBareEnvoy, type BareEnvoy } from "../support/envoy.ts";
import { startWorker } from "../support/worker.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";

// The riskiest seam: a Worker on workerd signs a proof with the visitor's host in it, and a real Envoy, configured by the agent's own
// renderer and xDS server, verifies it, routes by it, and restores the host for the service.
const NODE = "nod_00000000000000000001";
const ACME = { tenant: "ten_acme", host: "acme.causeway.localhost" };
const GLOBEX = { tenant: "ten_globex", host: "globex.causeway.localhost" };

let envoy: BareEnvoy;
let edge: Miniflare;
let edgeUrl: URL;

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  envoy = await startBareEnvoy(NODE, [key.public]);
  const node = join(process.cwd(), "node_modules/.bin/node");
  for (const { tenant, host } of [ACME, GLOBEX]) {
    const [port = 0] = await freePorts(1);
    const env = { PORT: String(port), CAUSEWAY_TENANT: tenant, CAUSEWAY_SERVICE: "app", CAUSEWAY_NODE: "test-node" };
    startChild([node, join(process.cwd(), "local-stack/demo-service/main.ts")], "/dev/null", {
      ...process.env,
      ...env,
    });
    await until("the service answers", async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).ok);
    const endpoints = new Map([["app", { address: "127.0.0.1", port }]]);
    const routes = [
      { prefix: "/app", service: "app" },
      { prefix: "/cut", service: "app", rewrite: { prefix: "/" } },
      { prefix: "/moved", service: "app", rewrite: { prefix: "/v2/app", host: "app.internal:8080" } },
      { prefix: "/moved/not", service: "app" },
    ];
    const spec = { tenantId: tenant, slug: tenant, revision: 1, hosts: [host], routes, services: [] };
    envoy.xds.run(envoy.planner.put(encodeTenant(tenant, 1, renderTenant(spec, endpoints))));
  }
  await until("envoy took both tenants", () => envoy.effects.filter(({ kind }) => kind === "accepted").length === 2);
  edge = await startWorker("test/system/fixtures/proof-edge.ts", {
    NODE_URL: envoy.url,
    PROOF_PRIVATE_KEY: JSON.stringify(key.private),
  });
  edgeUrl = await edge.ready;
});

afterAll(async () => {
  await edge.dispose();
  await envoy.xds.close();
  await stopChildren();
});

interface Claims {
  readonly tenant: string;
  readonly host: string;
  readonly node?: string;
  readonly proof?: "none";
}
const claimHeaders = ({ tenant, host, node = NODE, proof }: Claims): Record<string, string> => ({
  "test-tenant": tenant,
  "test-host": host,
  "test-node": node,
  ...(proof === undefined ? {} : { "test-proof": proof }),
});
const ask = (claims: Claims, path = "/app", headers: Record<string, string> = {}): Promise<Response> =>
  fetch(new URL(path, edgeUrl), { headers: { ...claimHeaders(claims), ...headers } });

test("the service sees the visitor's host, path, query and scheme (H09, H13)", async () => {
  const response = await ask(ACME, "/app/a%2Fb/%7Ec?q=%20x&q=2", {
    "x-forwarded-proto": "https",
    "x-forwarded-for": "192.0.2.7",
  });
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({
    tenant: ACME.tenant,
    host: ACME.host,
    path: "/app/a%2Fb/%7Ec?q=%20x&q=2",
    proto: "https",
    headers: { "x-forwarded-for": "192.0.2.7" },
  });
});

test.each([
  ["/cut", "/", ACME.host],
  ["/cut?q=1", "/?q=1", ACME.host],
  ["/cut/", "/", ACME.host],
  ["/cut/a%2Fb/?q=%20x", "/a%2Fb/?q=%20x", ACME.host],
  ["/moved", "/v2/app", "app.internal:8080"],
  ["/moved/x//y?q", "/v2/app/x//y?q", "app.internal:8080"],
  ["/moved/not/x", "/moved/not/x", ACME.host],
])("%s is %s to the service, host %s, where the route says so (H13)", async (path, seen, host) => {
  const response = await ask(ACME, path);
  expect(await response.json()).toMatchObject({ path: seen, host });
});

test("a prefix that is cut off ends at a segment (H31)", async () => {
  expect((await ask(ACME, "/cutter")).headers.get("causeway-error")).toBe("no-route");
});

test("who the visitor is passes Envoy as the edge said it", async () => {
  const said = { "causeway-account": "usr_ann", "causeway-role": "admin", "causeway-identity": "signed" };
  expect(await (await ask(ACME, "/app", said)).json()).toMatchObject({ headers: said });
});

test("a WebSocket passes edge and Envoy, text and binary (H12, E11)", async () => {
  const socket = new WebSocket(`ws://${edgeUrl.host}/app/ws`, { headers: claimHeaders(ACME) });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const echoed: { binary: boolean; bytes: Buffer }[] = [];
  socket.on("message", (data: Buffer, binary) => echoed.push({ binary, bytes: data }));
  socket.send("hello");
  socket.send(Buffer.alloc(70_000, 7));
  await until("both came back", () => echoed.length === 2);
  expect(echoed).toEqual([
    { binary: false, bytes: Buffer.from("hello") },
    { binary: true, bytes: Buffer.alloc(70_000, 7) },
  ]);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.close(4001, "done");
  expect(await closed).toBe(4001);
});

test("headers that a caller makes up don't change the host, the tenant or the route (H10)", async () => {
  const response = await ask(ACME, "/app", {
    "x-edge-scope": GLOBEX.host,
    "x-causeway-host": GLOBEX.host,
    "x-edge-tenant": GLOBEX.tenant,
    "x-edge-probe": "1",
    "x-envoy-original-path": "/other",
    "x-forwarded-host": GLOBEX.host,
  });
  const body = z
    .object({ headers: z.record(z.string(), z.string()) })
    .loose()
    .parse(await response.json());
  expect(body).toMatchObject({ tenant: ACME.tenant, host: ACME.host });
  for (const name of ["x-edge-scope", "x-edge-probe", "x-edge-tenant", "causeway-proof"])
    expect(Object.keys(body.headers)).not.toContain(name);
});

test.each([
  ["no proof", { ...ACME, proof: "none" as const }, "/app", 401, "unauthorized"],
  ["a proof for another node", { ...ACME, node: "nod_other" }, "/app", 403, "forbidden"],
  // The edge may know the host's old tenant for some seconds after its name was given to a new one.
  ["a proof of another tenant for this host", { ...ACME, tenant: GLOBEX.tenant }, "/app", 403, "forbidden"],
  [
    "a host that the node does not have (H40)",
    { ...ACME, host: "nobody.causeway.localhost" },
    "/app",
    404,
    "unknown-host",
  ],
  ["a path without a route (H32)", ACME, "/nothing", 404, "no-route"],
  ["a longer segment that begins like a prefix (H31)", ACME, "/app-frontend", 404, "no-route"],
])("%s is refused with a code and nothing of Envoy's own", async (_what, claims, path, status, code) => {
  const response = await ask(claims, path, { "causeway-request-id": 'r"1' });
  expect(response.status).toBe(status);
  expect(response.headers.get("causeway-error")).toBe(code);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(response.headers.get("www-authenticate")).toBeNull();
  expect(response.headers.get("server")).not.toBe("envoy");
  expect(await response.json()).toMatchObject({ code, status, requestId: 'r"1' });
});

test("requests without a good proof are counted (D4)", async () => {
  const before = (await countRefused(envoy.adminUrl)) ?? Number.NaN;
  expect((await ask({ ...ACME, proof: "none" })).status).toBe(401);
  expect((await ask({ ...ACME, node: "nod_other" })).status).toBe(403);
  expect((await ask(ACME)).status).toBe(200);
  await until("both are counted", async () => (await countRefused(envoy.adminUrl)) === before + 2);
  const server = await serveHealth(
    0,
    () => status,
    () => countRefused(envoy.adminUrl),
  );
  const address = z.object({ port: z.number() }).parse(server.address());
  const metrics = await (await fetch(`http://127.0.0.1:${address.port}/metrics`)).text();
  server.close();
  expect(metrics).toContain(`\ncauseway_node_refused_requests_total ${before + 2}\n`);
  expect(metrics).toContain('causeway_node_tenants{state="live"} 2');
});

const status = {
  ready: true,
  node: "test-node",
  channel: "online",
  envoy: { connected: true, pid: null, drainingPid: null },
  tenants: { live: 2 },
  heldRemovals: 0,
  services: [],
} as const;

test("a proof of one tenant opens nothing of another, whatever the request says", async () => {
  for (const headers of [{ "x-edge-scope": GLOBEX.host }, { "x-forwarded-host": GLOBEX.host }, { host: GLOBEX.host }]) {
    const body = await (await ask(ACME, "/app", { ...headers })).json();
    expect(body).toMatchObject({ tenant: ACME.tenant, host: ACME.host });
  }
});
