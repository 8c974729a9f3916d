import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createServer as createTcpServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocketServer } from "ws";
import { selfSigned } from "../support/certificate.ts";
import { until } from "../support/until.ts";
import { headerOf } from "./connector/exchange.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { startTestRelay, type RelayLink, type TestRelay } from "./connector/relay.ts";
import { createSite, web, type Site } from "./connector/site.ts";

// What a request meets on its way through a connector: the session core as relay, real sockets, real targets.
describe.each(["llhttp", "undici"] as const)("by %s", (originClient) => {
  const MIB = 1024 * 1024;
  let relay: TestRelay;
  let site: Site;
  let link: RelayLink;
  const seen: { method: string; url: string; rawHeaders: string[] }[] = [];
  const events: string[] = [];
  const unread: IncomingMessage[] = [];

  beforeAll(async () => {
    relay = await startTestRelay();
    site = createSite();
    const plain = await site.target(
      (request, response) => {
        seen.push({ method: request.method ?? "", url: request.url ?? "", rawHeaders: request.rawHeaders });
        const path = request.url ?? "";
        if (path === "/base/hang") {
          events.push("hang");
          request.once("close", () => events.push("hang closed"));
          return;
        }
        if (path === "/base/late-upload") {
          request.on("error", () => undefined);
          request.once("close", () => events.push(request.complete ? "upload complete" : "upload broken off"));
          unread.push(request);
          return;
        }
        if (path === "/base/early") {
          response.writeHead(413).end("too much");
          return;
        }
        if (path === "/base/break") {
          response.write("half");
          setTimeout(() => response.destroy(), 20);
          return;
        }
        if (path === "/base/stream") {
          response.write("x");
          request.socket.once("close", () => events.push("stream closed"));
          return;
        }
        if (path === "/base/many") {
          response.writeHead(200, [
            ["Set-Cookie", "a=1"],
            ["Set-Cookie", "b=2"],
            ["Connection", "keep-alive, X-Hop"],
            ["X-Hop", "1"],
            ["X-Name", "caf\u00e9"],
          ]);
          response.end();
          return;
        }
        response.end(`${request.method} ${path}`);
      },
      (server) => {
        const sockets = new WebSocketServer({
          server,
          handleProtocols: (offered) => (offered.has("v2") ? "v2" : false),
          verifyClient: ({ req }: { req: IncomingMessage }) => req.url !== "/base/no-socket",
        });
        sockets.on("connection", (socket, request) => {
          events.push(`socket ${request.url}`);
          socket.on("message", (data, isBinary) => {
            if (data instanceof Buffer && data.toString() === "close") socket.close(4321, "as you like");
            else if (data instanceof Buffer && data.toString() === "cut") socket.terminate();
            else socket.send(data, { binary: isBinary });
          });
          socket.on("close", (code, reason) => events.push(`socket closed ${code} ${reason.toString()}`));
        });
      },
    );
    const demo = await site.demoTarget();
    site.connector({
      relay: relay.url,
      lanes: ["a"],
      originClient,
      targets: [
        web("plain", `${plain}/base`),
        web("demo", demo),
        { kind: "echo", name: "echo" },
        { kind: "ping", name: "ping" },
        { kind: "function", name: "sum", handle: sum },
        { kind: "function", name: "broken", handle: () => Promise.reject(new Error("secret words")) },
      ],
    });
    link = await relay.link("a");
  });
  afterAll(async () => {
    await site.close();
    await relay.stop();
  });

  /** Answers length and hash of what it gets, then the path, as a stream. */
  async function sum(request: Request): Promise<Response> {
    const bytes = new Uint8Array(await request.arrayBuffer());
    const digest = createHash("sha256").update(bytes).digest("hex");
    return new Response(`${bytes.length} ${digest} ${new URL(request.url).pathname}`, {
      status: 201,
      headers: [
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
      ],
    });
  }

  describe("a request", () => {
    test("reaches the target with its base path in front, raw path, fields, and the target's own Host", async () => {
      const exchange = link.open({
        target: "plain",
        path: "/a%2Fb/../c//d?x=%20&y=1",
        headers: [
          ["Host", "acme.example.com"],
          ["X-Forwarded-Host", "acme.example.com"],
          ["Connection", "x-mine"],
          ["X-Mine", "gone"],
          ["Expect", "100-continue"],
          ["X-Twice", "1"],
          ["X-Twice", "2"],
        ],
      });
      expect(await exchange.text()).toBe("GET /base/a%2Fb/../c//d?x=%20&y=1");
      const raw = seen.at(-1)?.rawHeaders ?? [];
      const pairs = raw.flatMap((name, i) => (i % 2 === 0 ? [[name.toLowerCase(), raw[i + 1]]] : []));
      expect(pairs).toContainEqual(["x-forwarded-host", "acme.example.com"]);
      expect(pairs.filter(([name]) => name === "x-twice")).toEqual([
        ["x-twice", "1"],
        ["x-twice", "2"],
      ]);
      expect(pairs.find(([name]) => name === "host")?.[1]).toMatch(/^127\.0\.0\.1:/);
      for (const name of ["x-mine", "expect"]) expect(pairs.map(([field]) => field)).not.toContain(name);
    });

    test.each(["HEAD", "DELETE", "OPTIONS", "PROPFIND"])("may be %s", async (method) => {
      const exchange = link.open({ target: "plain", path: "/m", method });
      expect(await exchange.text()).toBe(method === "HEAD" ? "" : `${method} /base/m`);
    });

    test("that is HEAD keeps the length of the answer that it did not ask for", async () => {
      const exchange = link.open({ target: "demo", path: "/page.js", method: "HEAD" });
      expect(Number(headerOf(await exchange.head, "content-length"))).toBeGreaterThan(100);
      expect(await exchange.text()).toBe("");
    });

    test("with a small body is one message each way, with a length", async () => {
      const exchange = link.open({ target: "demo", path: "/upload", method: "POST", body: Buffer.from("small") });
      expect(JSON.parse(await exchange.text())).toMatchObject({ bytes: 5 });
      const empty = link.open({ target: "demo", path: "/upload", method: "POST", body: [] });
      expect(JSON.parse(await empty.text())).toMatchObject({ bytes: 0 });
    });

    test("with two different lengths, or a wrong one, is refused and harms nobody", async () => {
      const smuggled = link.open({
        target: "plain",
        method: "POST",
        headers: [
          ["content-length", "5"],
          ["content-length", "6"],
        ],
        body: Buffer.from("12345"),
      });
      await expect(smuggled.head).rejects.toThrow("reset: protocol");
      const short = link.open({
        target: "plain",
        method: "POST",
        headers: [["content-length", "9"]],
        body: Buffer.from("1234"),
      });
      await expect(short.head).rejects.toThrow("reset: protocol");
      expect(await link.open({ target: "plain", path: "/after" }).text()).toBe("GET /base/after");
    });
  });

  describe("an answer", () => {
    test("keeps repeated cookies, bytes above ASCII and no field of the hop", async () => {
      const { headers } = await link.open({ target: "plain", path: "/many" }).head;
      const names = headers.map(([name]) => name.toLowerCase());
      expect(headers.filter(([name]) => name.toLowerCase() === "set-cookie").map(([, value]) => value)).toEqual([
        "a=1",
        "b=2",
      ]);
      expect(headers).toContainEqual(["X-Name", "caf\u00e9"]);
      for (const name of ["connection", "x-hop", "transfer-encoding"]) expect(names).not.toContain(name);
    });

    test("may come with hints before it and trailers after it", async () => {
      const hinted = link.open({ target: "demo", path: "/hints" });
      expect(JSON.parse(await hinted.text())).toEqual({ hinted: true });
      expect(hinted.interim.map(({ status }) => status)).toEqual([103]);
      const trailed = link.open({ target: "demo", path: "/trailers" });
      expect(await trailed.text()).toBe("body");
      expect(trailed.trailers).toEqual([["x-sum", createHash("sha256").update("body").digest("hex")]]);
    });

    test("may be 304 or 204 without a body", async () => {
      const page = await link.open({ target: "demo", path: "/" }).head;
      const again = link.open({
        target: "demo",
        path: "/",
        headers: [["if-none-match", headerOf(page, "etag") ?? ""]],
      });
      expect([(await again.head).status, await again.text()]).toEqual([304, ""]);
    });

    test("that is an error of the target's is passed on as it is", async () => {
      const exchange = link.open({ target: "demo", path: "/status/503" });
      expect([(await exchange.head).status, await exchange.text()]).toEqual([503, '{"status":503}\n']);
    });

    test("is streamed while it comes", async () => {
      const exchange = link.open({ target: "demo", path: "/sse?count=0&ms=10" });
      expect(headerOf(await exchange.head, "content-type")).toBe("text/event-stream");
      await until("three events", () => exchange.bytes > 300);
      exchange.stream.reset("cancelled", "enough");
    });
  });

  describe("bodies", () => {
    test("of 64 MiB come down and go up whole", async () => {
      const down = link.open({ target: "demo", path: "/blob?mb=64" });
      expect(headerOf(await down.head, "x-content-sha256")).toBe(await down.sha256());
      expect(down.bytes).toBe(64 * MIB);
      const piece = randomBytes(48 * 1024 + 7);
      const hash = createHash("sha256");
      const pieces = function* () {
        for (let i = 0; i < 1400; i++) {
          hash.update(piece);
          yield piece;
        }
      };
      const up = link.open({ target: "demo", path: "/upload", method: "POST", body: pieces() });
      expect(JSON.parse(await up.text())).toEqual({ bytes: 1400 * piece.length, sha256: hash.digest("hex") });
    });

    test("a visitor who does not read stops the target, not the others, and goes on later", async () => {
      const stalled = link.open({ target: "demo", path: "/blob?mb=64", reading: false });
      const head = await stalled.head;
      await until("the window to be full", () => stalled.bytes >= MIB);
      expect(await link.open({ target: "ping" }).text()).toBe("PONG\n");
      expect(stalled.bytes).toBe(MIB); // the relay's window for it
      stalled.read();
      expect(await stalled.sha256()).toBe(headerOf(head, "x-content-sha256"));
    });

    test("a target that does not read stops the visitor", async () => {
      let written = 0;
      const piece = new Uint8Array(64 * 1024);
      const endless = function* () {
        for (;;) {
          written += piece.length;
          yield piece;
        }
      };
      const exchange = link.open({ target: "plain", path: "/late-upload", method: "POST", body: endless() });
      let before = -1;
      await until("the upload to stop", () => before === (before = written), { intervalMs: 300 });
      expect(written).toBeGreaterThan(MIB);
      expect(written).toBeLessThan(40 * MIB);
      expect(await link.open({ target: "ping" }).text()).toBe("PONG\n");
      exchange.stream.reset("cancelled", "enough");
      for (const request of unread) request.resume();
      await until("the target to notice", () => events.includes("upload broken off"));
    });

    test("an answer before the end of the body ends the request without an error", async () => {
      const piece = new Uint8Array(64 * 1024);
      const endless = function* () {
        for (;;) yield piece;
      };
      const exchange = link.open({ target: "plain", path: "/early", method: "POST", body: endless() });
      expect([(await exchange.head).status, await exchange.text()]).toEqual([413, "too much"]);
      expect(await exchange.outcome).toEqual({ kind: "finished" });
    });
  });

  describe("a visitor who goes away", () => {
    test("ends the work at the target, before and after the head", async () => {
      const waiting = link.open({ target: "plain", path: "/hang" });
      await until("the target to have it", () => events.includes("hang"));
      waiting.stream.reset("cancelled", "gone");
      await until("the target to notice", () => events.includes("hang closed"));
      const streaming = link.open({ target: "plain", path: "/stream" });
      await streaming.head;
      streaming.stream.reset("cancelled", "gone");
      await until("the target to notice", () => events.includes("stream closed"));
    });
  });

  describe("errors", () => {
    test("name the target and what failed, and no address of the site", async () => {
      const hole = createTcpServer((socket) => socket.on("error", () => undefined));
      const holePort = await listenOnLoopback(hole);
      const secure = createTlsServer(selfSigned({ dns: ["localhost"], ip: ["127.0.0.1"] }), (_q, response) =>
        response.end(),
      );
      const securePort = await listenOnLoopback(secure);
      const garbage = createTcpServer((socket) => {
        socket.on("error", () => undefined);
        socket.end("SSH-2.0-OpenSSH\r\n");
      });
      const garbagePort = await listenOnLoopback(garbage);
      const closedPort = await freed();
      site.connector({
        relay: relay.url,
        instanceId: "errors",
        lanes: ["b"],
        originClient,
        targets: [
          web("refused", `http://127.0.0.1:${closedPort}`),
          web("nowhere", "http://no-such-host.invalid"),
          web("slow", `http://127.0.0.1:${holePort}`, 300),
          web("untrusted", `https://127.0.0.1:${securePort}`),
          web("nottls", `https://127.0.0.1:${garbagePort}`),
          web("garbage", `http://127.0.0.1:${garbagePort}`),
        ],
      });
      const broken = await relay.link("b", { instanceId: "errors" });
      const reason = async (request: Parameters<RelayLink["open"]>[0], via = broken) => {
        const outcome = await via.open(request).outcome;
        if (outcome.kind !== "reset") throw new Error("it answered");
        expect(outcome.text).toContain(`"${request.target}"`);
        expect(outcome.text).not.toMatch(/127\.0\.0\.1|invalid/);
        return outcome.reason;
      };
      expect(await reason({ target: "refused" })).toBe("target-refused");
      expect(await reason({ target: "refused", upgrade: "websocket" })).toBe("target-refused");
      expect(await reason({ target: "nowhere" })).toBe("target-unresolved");
      expect(await reason({ target: "slow" })).toBe("target-timeout");
      expect(await reason({ target: "slow", upgrade: "websocket" })).toBe("target-timeout");
      expect(await reason({ target: "slow", deadlineMs: 100 })).toBe("deadline-exceeded");
      expect(await reason({ target: "untrusted" })).toBe("target-tls");
      expect(await reason({ target: "untrusted", upgrade: "websocket" })).toBe("target-tls");
      expect(await reason({ target: "nottls" })).toBe("target-tls");
      expect(await reason({ target: "garbage" })).toBe("target-reset");
      expect(await reason({ target: "plain", path: "/break" }, link)).toBe("target-reset");
      for (const server of [hole, secure, garbage]) server.close();
    });

    test("a target that was not declared is refused before anything starts", async () => {
      const outcome = await link.open({ target: "secret" }).outcome;
      expect(outcome).toMatchObject({
        reason: "unknown-target",
        text: 'this connector does not serve the target "secret"',
      });
      expect(site.log.join("\n")).toContain('"target":"secret"');
    });
  });

  describe("debug and function targets", () => {
    test("ping answers, echo sends back bodies and describes requests", async () => {
      expect(await link.open({ target: "ping", method: "POST", body: Buffer.from("x") }).text()).toBe("PONG\n");
      const body = randomBytes(3 * MIB);
      const echo = link.open({ target: "echo", method: "POST", headers: [["content-type", "a/b"]], body });
      expect(headerOf(await echo.head, "content-type")).toBe("a/b");
      expect(await echo.sha256()).toBe(createHash("sha256").update(body).digest("hex"));
      const described = link.open({ target: "echo", path: "/x?y", headers: [["x-a", "1"]] });
      expect(JSON.parse(await described.text())).toEqual({
        target: "echo",
        method: "GET",
        path: "/x?y",
        headers: [["x-a", "1"]],
      });
    });

    test("a function gets a Request and gives a Response; what it throws stays here", async () => {
      const body = randomBytes(2 * MIB);
      const exchange = link.open({ target: "sum", path: "/deep?x", method: "POST", body });
      const head = await exchange.head;
      expect([head.status, head.headers.filter(([name]) => name === "set-cookie")]).toEqual([
        201,
        [
          ["set-cookie", "a=1"],
          ["set-cookie", "b=2"],
        ],
      ]);
      expect(await exchange.text()).toBe(`${body.length} ${createHash("sha256").update(body).digest("hex")} /deep`);
      const failed = await link.open({ target: "broken" }).outcome;
      expect(failed).toMatchObject({ reason: "internal", text: 'target "broken": its function failed' });
      expect(site.log.join("\n")).toContain("secret words");
    });
  });

  describe("a WebSocket", () => {
    const open = (path: string, headers: [string, string][] = []) =>
      link.open({ target: "plain", path, headers, upgrade: "websocket" });

    test("carries text, binary, empty and big messages, and the close of either side", async () => {
      const exchange = open("/live?x=%2F", [["Sec-WebSocket-Protocol", "v1, v2"]]);
      const head = await exchange.head;
      expect([head.status, headerOf(head, "sec-websocket-protocol")]).toEqual([101, "v2"]);
      expect(events).toContain("socket /base/live?x=%2F");
      const big = randomBytes(2 * MIB);
      exchange.stream.sendMessage("text", Buffer.from("grüße"));
      exchange.stream.sendMessage("binary", Buffer.alloc(0));
      exchange.stream.sendMessage("binary", big);
      const messages = await until("three echoes", () => exchange.messages.length === 3 && exchange.messages);
      expect(messages.map(({ kind }) => kind)).toEqual(["text", "binary", "binary"]);
      expect(messages[0]?.data.toString()).toBe("grüße");
      expect(messages[2]?.data.equals(big)).toBe(true);
      exchange.stream.sendMessageClose(4000, "bye");
      expect(await exchange.outcome).toEqual({ kind: "finished" });
      await until("the target's close", () => events.includes("socket closed 4000 bye"));

      const other = open("/live");
      await other.head;
      other.stream.sendMessage("text", Buffer.from("close"));
      expect(await other.outcome).toEqual({ kind: "finished" });
      expect(other.closes).toEqual([{ code: 4321, reason: "as you like" }]);
    });

    test("is cut for one side when the other is cut, and closed without a code when it was", async () => {
      const cut = open("/live");
      await cut.head;
      cut.stream.sendMessage("text", Buffer.from("cut"));
      await cut.outcome;
      expect(cut.closes).toEqual([{ code: 1006, reason: "" }]);
      events.length = 0;
      const gone = open("/live");
      await gone.head;
      gone.stream.reset("cancelled", "the visitor is gone");
      await until("the target's end", () => events.includes("socket closed 1006 "));
      const plain = open("/live");
      await plain.head;
      plain.stream.sendMessageClose(1005, "");
      await until("the target's close", () => events.includes("socket closed 1005 "));
    });

    test("may be without a subprotocol although some were offered", async () => {
      const exchange = open("/live", [["sec-websocket-protocol", "other"]]);
      const head = await exchange.head;
      expect([head.status, headerOf(head, "sec-websocket-protocol")]).toEqual([101, undefined]);
      exchange.stream.sendMessage("text", Buffer.from("works"));
      await until("the echo", () => exchange.messages[0]?.data.toString() === "works");
      exchange.stream.reset("cancelled", "");
    });

    test("that the target does not want gets the target's own answer", async () => {
      const exchange = open("/no-socket");
      expect([(await exchange.head).status, await exchange.text()]).toEqual([401, "Unauthorized"]);
    });

    test("is echoed by the echo target", async () => {
      const exchange = link.open({ target: "echo", upgrade: "websocket" });
      expect((await exchange.head).status).toBe(101);
      exchange.stream.sendMessage("text", Buffer.from("hello"));
      await until("the echo", () => exchange.messages[0]?.data.toString() === "hello");
      exchange.stream.sendMessageClose(1000, "done");
      expect(await exchange.outcome).toEqual({ kind: "finished" });
      expect(exchange.closes).toEqual([{ code: 1000, reason: "done" }]);
    });
  });

  /** A port where nobody listens. */
  async function freed(): Promise<number> {
    const server = createTcpServer();
    const port = await listenOnLoopback(server);
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
});
