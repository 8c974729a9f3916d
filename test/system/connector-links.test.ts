import { createServer as createHttpServer } from "node:http";
import { connect, createServer as createTcpServer, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CLOSE } from "../../src/protocol/tunnel/close-codes.ts";
import { selfSigned } from "../support/certificate.ts";
import { until } from "../support/until.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { startTestRelay, type TestRelay } from "./connector/relay.ts";
import { createSite, web, type Site } from "./connector/site.ts";

// How a connector stays connected, and when it gives up.
const PING = [{ kind: "ping", name: "ping" }] as const;
let relay: TestRelay;
let site: Site;
let skewMs: number;

beforeEach(async () => {
  skewMs = 0;
  relay = await startTestRelay();
  site = createSite({ skewMs: () => skewMs });
});
afterEach(async () => {
  await site.close();
  await relay.stop();
});

const logged = (text: string) => until(`the log to say "${text}"`, () => site.log.some((line) => line.includes(text)));

describe("a link", () => {
  test("to each lane says who it is and what it serves", async () => {
    const connector = site.connector({ relay: relay.url, targets: [...PING, { kind: "echo", name: "echo" }] });
    const [a, b] = await Promise.all([relay.link("a"), relay.link("b")]);
    for (const { peer } of [a, b]) expect(peer).toMatchObject({ instanceId: "test-1", targets: ["ping", "echo"] });
    await until("both to be ready", () => connector.links().every(({ state }) => state === "ready"));
    expect(new Set(relay.dials.map(({ authorization }) => authorization)).size).toBe(2); // one assertion a dial
  });

  test("that is lost comes back by itself with everything it serves, and the other lane never stops", async () => {
    const connector = site.connector({ relay: relay.url, targets: [...PING] });
    const [a, b] = await Promise.all([relay.link("a"), relay.link("b")]);
    for (let old = a, round = 0; round < 3; round++) {
      old.socket.terminate();
      expect(connector.ready).toBe(true);
      old = await relay.link("a", { not: old });
      expect(old.peer.targets).toEqual(["ping"]);
      expect(await old.open({ target: "ping" }).text()).toBe("PONG\n");
    }
    expect(b.closed).toBe(null);
  });

  test("survives a relay that is away for a while", async () => {
    const connector = site.connector({ relay: relay.url, targets: [...PING] });
    await Promise.all([relay.link("a"), relay.link("b")]);
    await relay.stop();
    await until("both to be down", () => !connector.ready);
    await logged("ECONNREFUSED");
    await relay.listen();
    expect(await (await relay.link("a")).open({ target: "ping" }).text()).toBe("PONG\n");
    await relay.link("b");
  });

  test("that is asked to move dials first and finishes what it has on the old socket", async () => {
    let answer: (() => void) | null = null;
    const slow = await site.target((_request, response) => {
      answer = () => void response.end("in the end");
    });
    site.connector({
      relay: relay.url,
      lanes: ["a"],
      targets: [web("slow", slow, 9000)],
    });
    const old = await relay.link("a");
    const open = old.open({ target: "slow" });
    const finish = await until("the target to have it", () => answer);
    old.session.goAway({ graceMs: 10_000, reconnectMinMs: 0, reconnectMaxMs: 50, reason: "deploy" });
    await relay.link("a", { not: old });
    expect(old.closed).toBe(null);
    finish();
    expect(await open.text()).toBe("in the end");
    await until("the old socket to be closed", () => old.closed);
    expect(old.closed).toEqual({ code: CLOSE.goneAway, reason: "drained" });
  });

  test("that moved is not disturbed by the end of its old socket while the new one is on its way", async () => {
    const connector = site.connector({
      relay: relay.url,
      lanes: ["a"],
      targets: [...PING, { kind: "echo", name: "echo" }],
    });
    const old = await relay.link("a");
    await old.open({ target: "echo", upgrade: "websocket" }).head;
    const { promise, resolve } = Promise.withResolvers<void>();
    relay.gate = promise;
    old.session.goAway({ graceMs: 10_000, reconnectMinMs: 0, reconnectMaxMs: 0, reason: "deploy" });
    await until("the next dial", () => relay.dials.length === 2);
    old.socket.terminate();
    await logged("an older connection ended");
    resolve();
    await relay.link("a", { not: old });
    await until("it to be ready", () => connector.ready);
    expect(connector.links()).toMatchObject([{ state: "ready", losses: 0 }]);
    expect(relay.dials.length).toBe(2);
  });

  test("that is replaced stops and says why; when every lane is replaced, so does the connector", async () => {
    const connector = site.connector({ relay: relay.url, targets: [...PING] });
    const [a, b] = await Promise.all([relay.link("a"), relay.link("b")]);
    a.session.replaced("a newer process with this id");
    setImmediate(() => a.socket.close(CLOSE.replaced, "a newer process with this id"));
    await logged("a newer process with this id");
    expect(connector.links().map(({ state }) => state)).toEqual(["stopped", "ready"]);
    b.socket.close(CLOSE.replaced, "same there");
    expect(await connector.done).toMatchObject({ kind: "replaced" });
    expect(relay.dials.length).toBe(2);
  });

  test("that is black-holed is found by an echo through the data path, idle or busy", async () => {
    site.connector({ relay: relay.url, lanes: ["a"], targets: [...PING, { kind: "echo", name: "echo" }] });
    let link = await relay.link("a");
    for (const busy of [false, true]) {
      if (busy) await link.open({ target: "echo", method: "POST", body: new Uint8Array(1), upgrade: null }).text();
      if (busy) await link.open({ target: "echo", upgrade: "websocket" }).head;
      link.deaf = true; // the socket is open, and its frames go nowhere
      skewMs += busy ? 6_000 : 61_000; // silence long enough to ask
      await until("it to ask", () => link.ignored > 0);
      skewMs += 21_000; // no answer for longer than it waits
      link = await relay.link("a", { not: link });
      await logged("does not answer any more");
    }
  });

  test("keeps an idle socket alive with pings that the relay's runtime answers", async () => {
    site.connector({ relay: relay.url, lanes: ["a"], targets: [...PING] });
    const { socket } = await relay.link("a");
    let pings = 0;
    socket.on("ping", () => (pings += 1));
    skewMs += 26_000;
    await until("a ping", () => pings > 0);
  });
});

describe("a refusal", () => {
  test("of the credential by every lane from the start ends the connector with an auth error, soon and after few tries", async () => {
    const body = JSON.stringify({ code: "unauthorized", detail: "The assertion does not prove a connector." });
    relay.refuse = { status: 401, body };
    const connector = site.connector({ relay: relay.url, targets: [...PING] });
    const exit = await connector.done;
    expect(exit).toMatchObject({ kind: "auth", text: expect.stringContaining("does not prove a connector") });
    expect(relay.dials.length).toBeLessThanOrEqual(6);
  });

  test("is asked again soon when the connector is younger than its registration's way to the lanes", async () => {
    relay.refuse = { status: 401 };
    const connector = site.connector({ relay: relay.url, lanes: ["a", "b"], targets: [...PING] });
    await logged("refused the credential");
    relay.refuse = null;
    await Promise.all([relay.link("a"), relay.link("b")]);
    expect(connector.ready).toBe(true);
  });

  test("names a clock that is wrong", async () => {
    skewMs = -7 * 60_000;
    relay.refuse = { status: 401 };
    const exit = await site.connector({ relay: relay.url, targets: [...PING] }).done;
    expect(exit).toMatchObject({ kind: "auth", text: expect.stringContaining("behind, check the time") });
  });

  test("by one lane only is asked again while the other one works", async () => {
    const connector = site.connector({ relay: relay.url, lanes: ["a", "b"], targets: [...PING] });
    const [a] = await Promise.all([relay.link("a"), relay.link("b")]);
    relay.refuse = { status: 403 };
    a.socket.terminate();
    await logged("refused the credential");
    expect(connector.ready).toBe(true);
    relay.refuse = null;
    await relay.link("a", { not: a });
  });

  test("of live sockets on every lane is no end: once they are welcome again, they are back by themselves", async () => {
    const connector = site.connector({ relay: relay.url, lanes: ["a", "b"], targets: [...PING] });
    const links = await Promise.all([relay.link("a"), relay.link("b")]);
    relay.refuse = { status: 403 };
    const dialled = relay.dials.length;
    for (const { socket } of links) socket.close(CLOSE.revoked, "the connector was disabled");
    await logged("the connector was disabled");
    await until("both lanes to have refused it again", () => relay.dials.length >= dialled + 4);
    expect(connector.ready).toBe(false);
    relay.refuse = null;
    await Promise.all(links.map((old) => relay.link(old.lane === "a" ? "a" : "b", { not: old })));
    await until("it to be ready", () => connector.ready);
  });

  test("for the moment is followed by a pause that the relay can ask for", async () => {
    relay.refuse = { status: 503, headers: { "retry-after": "2" } };
    site.connector({ relay: relay.url, lanes: ["a"], targets: [...PING] });
    await until("two dials", () => relay.dials.length >= 2);
    const [first, second] = relay.dials;
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(1_900);
    relay.refuse = null;
    await relay.link("a");
  });

  test("of the protocol's version ends it with a word about updating", async () => {
    const connector = site.connector({ relay: relay.url, lanes: ["a"], targets: [...PING] });
    (await relay.link("a")).socket.close(CLOSE.version, "no common version");
    expect(await connector.done).toMatchObject({ kind: "version" });
  });
});

describe("two instances", () => {
  test("are two peers of the relay, and one going away leaves the other", async () => {
    const one = site.connector({ relay: relay.url, instanceId: "one", targets: [...PING] });
    site.connector({ relay: relay.url, instanceId: "two", targets: [...PING] });
    const [first, second] = await Promise.all(["one", "two"].map((instanceId) => relay.link("a", { instanceId })));
    one.stop();
    await until("the first to be gone", () => first?.closed ?? null);
    expect(await second?.open({ target: "ping" }).text()).toBe("PONG\n");
  });
});

describe("the way to the relay", () => {
  const tls = selfSigned({ dns: ["relay.causeway.localhost"] });

  test("by TLS needs a certificate that is trusted; another CA can be added", async () => {
    const secure = await startTestRelay({ tls });
    try {
      site.connector({ relay: secure.url, lanes: ["a"], targets: [...PING] });
      await logged("TLS connection to the relay failed");
      expect(secure.links.length).toBe(0);
      site.connector({ relay: secure.url, lanes: ["a"], targets: [...PING], ca: tls.cert });
      expect(await (await secure.link("a")).open({ target: "ping" }).text()).toBe("PONG\n");
    } finally {
      await secure.stop();
    }
  });

  test("by TLS is not taken from somebody with another name", async () => {
    const other = selfSigned({ dns: ["other.example"] });
    const secure = await startTestRelay({ tls: other });
    try {
      site.connector({ relay: secure.url, lanes: ["a"], targets: [...PING], ca: other.cert });
      await logged("ERR_TLS_CERT_ALTNAME_INVALID");
    } finally {
      await secure.stop();
    }
  });

  test("goes through the proxy of HTTPS_PROXY with its password, and TLS stays end to end", async () => {
    // A name that only the proxy knows: a connector that went around it would find nothing.
    const named = selfSigned({ dns: ["relay.site.example"] });
    const secure = await startTestRelay({ tls: named });
    const asked: { path: string; authorization: string | undefined }[] = [];
    const open = new Set<Socket>();
    const proxy = createHttpServer();
    proxy.on("connect", (request, client: Socket) => {
      asked.push({ path: request.url ?? "", authorization: request.headers["proxy-authorization"] });
      const upstream = connect(secure.port, "127.0.0.1", () => {
        client.write("HTTP/1.1 200 OK\r\n\r\n");
        upstream.pipe(client).pipe(upstream);
      });
      for (const socket of [client, upstream]) {
        open.add(socket);
        socket.on("error", () => socket.destroy());
      }
    });
    const port = await listenOnLoopback(proxy);
    try {
      const proxyEnv = { HTTPS_PROXY: `http://user:p%40ss@127.0.0.1:${port}` };
      const relayUrl = `https://relay.site.example:${secure.port}`;
      site.connector({ relay: relayUrl, lanes: ["a"], targets: [...PING], ca: named.cert, proxyEnv });
      expect(await (await secure.link("a")).open({ target: "ping" }).text()).toBe("PONG\n");
      const authorization = `Basic ${Buffer.from("user:p@ss").toString("base64")}`;
      expect(asked[0]).toEqual({ path: `relay.site.example:${secure.port}`, authorization });
      const dials = asked.length;
      const direct = { ...proxyEnv, NO_PROXY: "site.example" };
      site.connector({
        relay: relayUrl,
        lanes: ["a"],
        targets: [...PING],
        ca: named.cert,
        proxyEnv: direct,
        instanceId: "2",
      });
      await logged("could not be resolved");
      expect(asked.length).toBe(dials);
    } finally {
      for (const socket of open) socket.destroy();
      proxy.close();
      await secure.stop();
    }
  });

  test("a proxy that refuses is named", async () => {
    const proxy = createHttpServer();
    proxy.on("connect", (_request, client: Socket) => client.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
    const port = await listenOnLoopback(proxy);
    const proxyEnv = { https_proxy: `http://127.0.0.1:${port}` };
    site.connector({ relay: "https://relay.site.example", lanes: ["a"], targets: [...PING], proxyEnv });
    await logged(`the proxy 127.0.0.1:${port}: refused the connection to relay.site.example:443 with status 407`);
    proxy.close();
  });

  test("that answers nothing at all is given up after a while and tried again", async () => {
    const hole = createTcpServer((socket) => socket.on("error", () => undefined));
    const port = await listenOnLoopback(hole);
    site.connector({ relay: `http://127.0.0.1:${port}`, lanes: ["a"], targets: [...PING] });
    await logged("no connection within");
    hole.close();
  }, 30_000);
});
