import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocketServer } from "ws";
import { serveHealth } from "../../src/node-agent/health.ts";
import { until } from "../support/until.ts";
import { createSite, type Site, type SiteProcess } from "./connector/site.ts";
import { acme, hostName, startRelayHost, type RelayHost } from "./relay-node/host.ts";

// Clients that reset their TCP connections (SO_LINGER 0) at every stage of a request: a socket that nobody listens to would end the process.
const HANDSHAKE =
  "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/** After the bytes were given to the system: at once, after some turns of the server's loop, and while it waits for somebody else. */
const AFTER_MS = [null, 0, 1, 3, 10];
const ROUNDS = 4;

let site: Site;
let held = 0;
beforeAll(() => {
  site = createSite();
});
afterAll(() => site.close());

const request = (host: string, line: string, fields = "", body = ""): string =>
  `${line} HTTP/1.1\r\nhost: ${hostName(host)}\r\n${fields}\r\n${body}`;

/** What is said before the reset, by the stage that it reaches. */
const STAGES: Record<string, string> = {
  "nothing said": "",
  "half a head": "GET / HTTP/1.1\r\nhost: own",
  "no HTTP at all": "\x16\x03\x01\x02\x00\r\n\r\n",
  "an answer on its way": request("own--acme", "GET /"),
  "waiting for the target": request("own--acme", "GET /hang"),
  "half a body": request("own--acme", "POST /", "content-length: 10\r\n", "half"),
  "a broken body": request("own--acme", "POST /hang", "transfer-encoding: chunked\r\n", "zz\r\n"),
  "two requests": request("own--acme", "GET /").repeat(2),
  "an own endpoint": request("relay", "POST /oauth/token", "content-length: 3\r\n", "a=b"),
  "refused for its host": request("nobody", "GET /"),
  CONNECT: "CONNECT own.example:443 HTTP/1.1\r\nhost: own.example:443\r\n\r\n",
  "CONNECT with bytes behind it": "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\nbytes",
  "another upgrade": request("own--acme", "GET /hang", "connection: upgrade\r\nupgrade: h2c\r\n"),
  "an upgrade that is refused": request("nobody", "GET /", HANDSHAKE),
  "an upgrade that is no handshake": request("own--acme", "GET /", "connection: upgrade\r\nupgrade: websocket\r\n"),
  "an upgrade to no target": request("none--acme", "GET /", HANDSHAKE),
  "an upgrade that waits for the target": request("own--acme", "GET /hang", HANDSHAKE),
  "an upgrade that is accepted": request("own--acme", "GET /ws", HANDSHAKE),
  "frames behind an upgrade": `${request("own--acme", "GET /ws", HANDSHAKE)}\x82\xff`,
  "a connector without a credential": request("relay", "GET /connect/a", HANDSHAKE),
  "a connector that is looked at": request("relay", "GET /connect/b", `${HANDSHAKE}authorization: Bearer a.b.c\r\n`),
};

/** Says it, and resets. `heard`: only once something came back, or shortly after for what nobody answers. */
async function reset(port: number, said: string, afterMs: number | null | "heard"): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await once(socket, "connect");
  const heard = new Promise((resolve) => socket.once("data", resolve).once("close", resolve));
  if (said !== "") await new Promise((resolve) => socket.write(said, "latin1", resolve));
  if (afterMs === "heard") await Promise.race([heard, delay(30)]);
  else if (afterMs !== null) await delay(afterMs);
  socket.resetAndDestroy();
  await closed;
}

async function attack(port: number): Promise<void> {
  for (const said of Object.values(STAGES)) {
    await Promise.all(
      [...AFTER_MS, "heard" as const].flatMap((afterMs) =>
        Array.from({ length: ROUNDS }, () => reset(port, said, afterMs)),
      ),
    );
  }
}

const healthz = async (port: number): Promise<number> => (await fetch(`http://127.0.0.1:${port}/healthz`)).status;

async function ownTarget(): Promise<string> {
  return await site.target(
    (incoming, response) => {
      incoming.on("error", () => undefined).resume();
      if (incoming.url === "/hang") {
        held += 1;
        response.on("close", () => (held -= 1));
      } else response.end("ok");
    },
    (server) => {
      const sockets = new WebSocketServer({ noServer: true });
      server.on("upgrade", (incoming, socket, head) => {
        socket.on("error", () => undefined).on("end", () => socket.destroy());
        if (incoming.url === "/ws")
          return sockets.handleUpgrade(incoming, socket, head, (ws) => ws.on("error", () => undefined));
        held += 1;
        socket.on("close", () => (held -= 1)).resume();
      });
    },
  );
}

describe.each(["llhttp", "node"])("causeway relay with the engine %s", (engine) => {
  let relay: RelayHost;
  let connector: SiteProcess;
  let healthPort: number;
  beforeAll(async () => {
    relay = await startRelayHost({ engine, tenants: { acme: acme(site.publicKey) } });
    connector = site.process(relay.url, [
      "--target",
      `own=${await ownTarget()}`,
      "--health-port",
      "0",
      "--instance",
      engine,
    ]);
    healthPort = Number(await until("its health port", () => /"healthPort":([0-9]+)/.exec(connector.output())?.[1]));
    await relay.online();
  }, 120_000);
  afterAll(() => relay.stop());

  test("stays up, serves, and keeps nothing of those who reset", { timeout: 120_000 }, async () => {
    await attack(relay.port);
    expect([relay.child.exitCode, relay.output()]).toEqual([null, expect.not.stringContaining("ECONNRESET")]);
    expect(await relay.ask("own--acme", "/")).toMatchObject({ status: 200, body: "ok" });
    await until("the target is let go", () => held === 0);
    const left = async (): Promise<string> => await (await fetch(`http://127.0.0.1:${relay.adminPort}/metrics`)).text();
    await until("no visitor's connection is left", async () => /^causeway_relay_connections 0$/m.test(await left()));
    expect(await left()).toMatch(/^causeway_relay_requests_open\b.* 0$/m);
  });

  test("so do its admin server and the connector's", { timeout: 120_000 }, async () => {
    for (const port of [relay.adminPort, healthPort]) {
      await attack(port);
      expect(await healthz(port)).toBe(200);
    }
    expect([relay.child.exitCode, connector.child.exitCode]).toEqual([null, null]);
    expect((await relay.sessions()).length).toBe(2);
  });
});

test(
  "the node agent's health server stays up: an error that nobody takes would end this run",
  { timeout: 60_000 },
  async () => {
    const status = {
      ready: true,
      node: "node-1",
      channel: "online" as const,
      envoy: { connected: true, pid: null, drainingPid: null },
      tenants: {},
      heldRemovals: 0,
      services: [],
    };
    const server = await serveHealth(
      0,
      () => status,
      async () => 0,
    );
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it listens on a port
    const { port } = server.address() as AddressInfo;
    await attack(port);
    expect(await healthz(port)).toBe(200);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  },
);
