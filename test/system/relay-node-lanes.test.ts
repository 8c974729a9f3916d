import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { once } from "node:events";
import { WebSocket } from "ws";
import { endChild, startChild, stopChildren } from "../support/children.ts";
import { envoyBinary } from "../support/envoy.ts";
import { startLoad } from "../support/load.ts";
import { get } from "../support/node.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";
import { createSite, type Site } from "./connector/site.ts";
import { acme, ask, startRelayHost, type RelayHost } from "./relay-node/host.ts";

// Two processes, lane a and lane b, behind a real Envoy that looks at /readyz; real connectors on both.
let site: Site;
let folder: string;
let front: number;
let file: Record<string, unknown>;
const lanes: { a: RelayHost | null; b: RelayHost | null } = { a: null, b: null };
const ports = { a: [0, 0], b: [0, 0] };

const start = async (lane: "a" | "b") => {
  const [port = 0, adminPort = 0] = ports[lane];
  lanes[lane] = await startRelayHost(file, { lane, port, adminPort, folder });
};
const host = (lane: "a" | "b"): RelayHost => {
  const found = lanes[lane];
  if (found === null) throw new Error(`lane ${lane} does not run`);
  return found;
};

beforeAll(async () => {
  site = createSite();
  folder = mkdtempSync(join(tmpdir(), "cw-lanes-"));
  const [portA = 0, adminA = 0, portB = 0, adminB = 0, frontPort = 0] = await freePorts(5);
  ports.a = [portA, adminA];
  ports.b = [portB, adminB];
  front = frontPort;
  writeFileSync(join(folder, "peer.secret"), randomBytes(32).toString("base64url"), { mode: 0o600 });
  const peer = (port: number) => ({ url: `http://127.0.0.1:${port}`, secretFile: "peer.secret" });
  file = {
    lanes: { a: { peer: peer(portB) }, b: { peer: peer(portA) } },
    drainSeconds: 20,
    tenants: { acme: acme(site.publicKey) },
  };
  await Promise.all([start("a"), start("b")]);
  const envoy = join(folder, "envoy.json");
  writeFileSync(envoy, JSON.stringify(envoyConfig(frontPort, [portA, adminA], [portB, adminB])));
  startChild(
    [await envoyBinary(), "-c", envoy, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"],
    join(folder, "envoy.log"),
  );
  const demo = await site.demoTarget();
  for (const instance of ["one", "two"]) {
    site.process(`http://relay.causeway.localhost:${frontPort}`, [
      "--instance",
      instance,
      "--reconnect-max",
      "1",
      "--target",
      "ping",
      "--target",
      `demo=${demo}`,
    ]);
  }
  await Promise.all([host("a").online(2), host("b").online(2)]);
}, 60_000);
afterAll(async () => {
  await site.close();
  await stopChildren();
  await Promise.all([lanes.a?.stop(), lanes.b?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

test("each lane answers by its own connectors, and one without them by the other's", async () => {
  site.process(host("b").url, ["--lanes", "b", "--instance", "only-b", "--target", "echo"]);
  await host("b").online(3);
  const body = randomBytes(20_000);
  const answer = await host("a").ask("echo--acme", "/x?y=1", { method: "POST", body });
  expect([answer.status, answer.headers["causeway-error"]]).toEqual([200, undefined]);
  // A request that a visitor claims to be passed on already is an ordinary one.
  const claimed = await host("a").ask("echo--acme", "/", {
    headers: { "causeway-peer": "v1.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
  });
  expect(claimed.status).toBe(200);
  // It is said once by each and not sent round and round.
  const nobody = await host("a").ask("nothing--acme", "/");
  expect([nobody.status, nobody.headers["causeway-error"]]).toEqual([404, "unknown-target"]);
});

test("a WebSocket passes to the other lane too", async () => {
  const demo = await site.demoTarget();
  site.process(host("b").url, ["--lanes", "b", "--instance", "ws-b", "--target", `live=${demo}`]);
  await until("it is there", async () => (await host("b").sessions()).some(({ targets }) => targets.includes("live")));
  const socket = new WebSocket(`ws://127.0.0.1:${host("a").port}/ws`, {
    headers: { host: "live--acme.causeway.localhost" },
  });
  await once(socket, "open");
  const heard: string[] = [];
  socket.on("message", (data: Buffer) => heard.push(data.toString()));
  socket.send("over both");
  await until("the echo", () => heard.includes("over both"));
  socket.close(1000);
  await once(socket, "close");
});

test("a, then b is drained and started again under load without one failed request", { timeout: 120_000 }, async () => {
  const headers = { host: "ping--acme.causeway.localhost" };
  const load = startLoad(
    () => get(`http://127.0.0.1:${front}/`, headers),
    (body) => body === "PONG\n",
    8,
  );
  const slow = ask(front, "demo--acme", "/slow?ms=6000");
  for (const lane of ["a", "b"] as const) {
    const old = host(lane);
    old.child.kill("SIGTERM");
    expect(await old.exit, old.output()).toBe(0);
    await start(lane);
    await host(lane).online(2);
    await until("the front has found it", async () => (await visits(host(lane))) > 50);
  }
  const { requests, failures } = await load.stop();
  expect(failures.slice(0, 5)).toEqual([]);
  expect(requests).toBeGreaterThan(300);
  expect((await slow).status).toBe(200);
});

test("a lane that is killed costs nobody more than what it had in its hands", { timeout: 60_000 }, async () => {
  await endChild(host("a").child, "SIGKILL");
  const headers = { host: "ping--acme.causeway.localhost" };
  await until("the front knows", async () => (await get(`http://127.0.0.1:${front}/`, headers)).status === 200);
  for (let i = 0; i < 20; i++) expect((await get(`http://127.0.0.1:${front}/`, headers)).status).toBe(200);
});

async function visits({ adminPort }: RelayHost): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
  return Number(/^causeway_relay_visits_total ([0-9]+)$/m.exec(text)?.[1] ?? 0);
}

/** Visitors to whichever lane is ready, connectors to the lane that they dial. */
function envoyConfig(port: number, a: readonly [number, number], b: readonly [number, number]): unknown {
  const address = (value: number) => ({ socket_address: { address: "127.0.0.1", port_value: value } });
  const endpoint = ([main, admin]: readonly [number, number]) => ({
    endpoint: { address: address(main), health_check_config: { port_value: admin } },
  });
  const cluster = (name: string, endpoints: readonly (readonly [number, number])[], checked: boolean) => ({
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: endpoints.map(endpoint) }] },
    ...(checked && {
      common_lb_config: { healthy_panic_threshold: { value: 0 } },
      health_checks: [
        {
          timeout: "0.5s",
          interval: "0.2s",
          unhealthy_interval: "0.2s",
          no_traffic_interval: "0.2s",
          unhealthy_threshold: 1,
          healthy_threshold: 1,
          http_health_check: { path: "/readyz" },
        },
      ],
    }),
  });
  const route = (match: unknown, name: string) => ({
    match,
    route: {
      cluster: name,
      timeout: "0s",
      upgrade_configs: [{ upgrade_type: "websocket" }],
      // A connection that could not be made has carried nothing.
      retry_policy: { retry_on: "connect-failure", num_retries: 2 },
    },
  });
  const virtualHost = {
    name: "all",
    domains: ["*"],
    routes: [route({ path: "/connect/a" }, "a"), route({ path: "/connect/b" }, "b"), route({ prefix: "/" }, "both")],
  };
  return {
    admin: { address: address(0) },
    static_resources: {
      listeners: [
        {
          address: address(port),
          filter_chains: [
            {
              filters: [
                {
                  name: "envoy.filters.network.http_connection_manager",
                  typed_config: {
                    "@type":
                      "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    stat_prefix: "front",
                    route_config: { virtual_hosts: [virtualHost] },
                    http_filters: [
                      {
                        name: "envoy.filters.http.router",
                        typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                      },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [cluster("a", [a], false), cluster("b", [b], false), cluster("both", [a, b], true)],
    },
  };
}
