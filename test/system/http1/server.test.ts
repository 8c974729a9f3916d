import { request as nodeRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import type { Http1ServerOptions } from "../../../src/http1/server-types.ts";
import type { Exchange } from "../../../src/http1/types.ts";
import { selfSigned } from "../../support/certificate.ts";
import { until } from "../../support/until.ts";
import { rawConnection, startServer, type TestServer } from "./support.ts";

// One suite for both engines; what only our own framing promises is at the end.
const running: TestServer[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map(({ server }) => server.close(0)));
});

type Options = Parameters<typeof startServer>[0];

async function start(engine: Http1ServerOptions["engine"], options: Options = {}): Promise<TestServer> {
  const started = await startServer({ ...(engine === undefined ? {} : { engine }), ...options });
  running.push(started);
  return started;
}

const HELLO = "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n";

describe.each(["llhttp", "node"] as const)("engine %s", (engine) => {
  test("answers, keeps the connection, answers again", async () => {
    const { port, seen } = await start(engine);
    const raw = rawConnection(port);
    raw.send(HELLO);
    await raw.reads(/GET $/);
    raw.send("POST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc");
    const text = await raw.reads(/POST abc$/);
    expect(text.match(/HTTP\/1\.1 200 OK\r\n/g)).toHaveLength(2);
    expect(text).toMatch(/Date: \w{3}, /);
    expect(text).toMatch(/x-path: \/b\r\n/);
    await until("both outcomes", () => seen.every(({ outcome }) => outcome?.kind === "finished"));
    raw.socket.destroy();
  });

  test("pipelined requests are answered in order", async () => {
    const { port } = await start(engine, {
      answer(exchange, { path }) {
        setTimeout(() => exchange.respond(200, [], `<${path}>`), path === "/1" ? 30 : 0);
      },
    });
    const raw = rawConnection(port);
    raw.send([1, 2, 3, 4].map((n) => `GET /${n} HTTP/1.1\r\nHost: a\r\n\r\n`).join(""));
    const text = await raw.reads(/<\/4>/);
    expect(text.match(/<\/\d>/g)).toEqual(["</1>", "</2>", "</3>", "</4>"]);
    raw.socket.destroy();
  });

  test("chunked bodies and trailers come as they were sent, and go out", async () => {
    const { port, seen } = await start(engine, {
      answer(exchange, { body, trailers }) {
        exchange.head(200, [["trailer", "x-sum"]]);
        exchange.write(Buffer.from(body));
        exchange.end(trailers ?? []);
      },
    });
    const raw = rawConnection(port);
    raw.send(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n",
    );
    const text = await raw.reads(/\r\n0\r\nx-sum: 5\r\n\r\n$/);
    expect(text).toMatch(/Transfer-Encoding: chunked\r\n/i);
    expect(text).toMatch(/\r\n\r\n5\r\nabcde\r\n0\r\n/);
    expect(seen[0]).toMatchObject({ body: "abcde", trailers: [["x-sum", "5"]] });
    raw.socket.destroy();
  });

  test("HEAD, 204 and 304 have no body", async () => {
    const { port } = await start(engine, {
      answer(exchange, { path }) {
        if (path === "/204") exchange.respond(204, [], null);
        else if (path === "/304") exchange.respond(304, [["content-length", "5"]], null);
        else exchange.respond(200, [], "hello");
      },
    });
    const raw = rawConnection(port);
    raw.send("HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n");
    await raw.reads(/\r\n\r\n$/);
    raw.send("GET /204 HTTP/1.1\r\nHost: a\r\n\r\n");
    await raw.reads(/ 204 [^]*\r\n\r\n$/);
    raw.send("GET /304 HTTP/1.1\r\nHost: a\r\n\r\n");
    await raw.reads(/ 304 [^]*\r\n\r\n$/);
    raw.send("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const text = await raw.closes();
    const answers = text.split(/(?=HTTP\/1\.1 )/);
    expect(answers[0]).toMatch(/Content-Length: 5\r\n/i);
    expect(answers[1]).not.toMatch(/content-length|transfer-encoding/i);
    expect(answers[2]).toMatch(/Content-Length: 5\r\n/i);
    expect(answers.map((answer) => answer.slice(answer.indexOf("\r\n\r\n") + 4))).toEqual(["", "", "", "hello"]);
  });

  test("HTTP/1.0: closes unless asked to keep, and a body of unknown length ends by closing", async () => {
    const { port } = await start(engine, {
      answer(exchange, { path }) {
        if (path !== "/stream") {
          exchange.respond(200, [], "whole");
          return;
        }
        exchange.head(200, []);
        exchange.write(Buffer.from("ab"));
        exchange.end();
      },
    });
    const raw = rawConnection(port);
    raw.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(await raw.reads(/whole$/)).toMatch(/Connection: keep-alive\r\n/i);
    raw.send("GET /stream HTTP/1.0\r\n\r\n");
    const text = await raw.closes();
    expect(text).toMatch(/Connection: close\r\n[^]*ab$/i);
    expect(text).not.toMatch(/transfer-encoding/i);
  });

  test("expect: 100-continue is answered when the handler wants the body, and an early answer closes", async () => {
    const head = "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    const { port } = await start(engine);
    const raw = rawConnection(port);
    raw.send(head);
    await raw.reads(/^HTTP\/1\.1 100 Continue\r\n\r\n$/);
    raw.send("abc");
    await raw.reads(/POST abc$/);
    raw.socket.destroy();

    const refusing = await start(engine, { early: (exchange) => void exchange.respond(413, [], "no") });
    const second = rawConnection(refusing.port);
    second.send(head);
    const text = await second.closes();
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    expect(text).toMatch(/Connection: close/i);
    expect(refusing.seen[0]?.body).toBe("");
  });

  test("informational heads come before the answer", async () => {
    const { port } = await start(engine, {
      answer(exchange) {
        expect(exchange.interim(103, [["link", "</a.css>"]])).toBe(true);
        expect(exchange.interim(200, [])).toBe(false);
        exchange.respond(200, [], "ok");
      },
    });
    const raw = rawConnection(port);
    raw.send(HELLO);
    expect(await raw.reads(/ok$/)).toMatch(
      /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a\.css>\r\n\r\nHTTP\/1\.1 200 OK\r\n/,
    );
    raw.socket.destroy();
  });

  test("fields that can't be sent are refused as a value, and another answer may follow", async () => {
    const { port } = await start(engine, {
      answer(exchange) {
        const bad: [string, string][] = [
          ["a", "b\r\nx: y"],
          ["a\nb", "c"],
          ["a", "b\0"],
          ["", "b"],
          ["a b", "c"],
          ["a", "\u{100}"],
          ["content-length", "7"],
        ];
        for (const field of bad) expect(exchange.respond(200, [field], "body")).toBe(false);
        expect(exchange.head(99, [])).toBe(false);
        exchange.respond(
          200,
          [
            ["connection", "x"],
            ["transfer-encoding", "gzip"],
            ["keep-alive", "1"],
          ],
          "good",
        );
      },
    });
    const raw = rawConnection(port);
    raw.send(HELLO);
    const text = await raw.reads(/good$/);
    expect(text).not.toMatch(/gzip|connection: x|keep-alive: 1\r/i);
    raw.socket.destroy();
  });

  test("a body shorter or longer than its content-length cuts the connection", async () => {
    for (const [length, body] of [
      ["5", "abc"],
      ["2", "abc"],
    ] as const) {
      const { port, seen } = await start(engine, {
        answer(exchange) {
          exchange.head(200, [["content-length", length]]);
          exchange.write(Buffer.from(body));
          exchange.end();
        },
      });
      const raw = rawConnection(port);
      raw.send(HELLO);
      await raw.closes();
      await until("outcome", () => seen[0]?.outcome?.kind === "gone");
    }
  });

  test.each([
    ["no Host", "GET / HTTP/1.1\r\n\r\n", "400 host"],
    ["two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 host"],
    ["Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 host"],
    ["Host with user information", "GET / HTTP/1.1\r\nHost: x@a\r\n\r\n", "400 host"],
    ["two names in Host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400 host"],
    ["empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "400 host"],
    ["another authority", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 host"],
    ["user information in the target", "GET http://a@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 host"],
    ["asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "400 target-form"],
    ["fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 target-form"],
    ["another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 target-form"],
    ["CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "405 target-form"],
    [
      "gzip, chunked",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      "501 transfer-encoding",
    ],
    [
      "chunked in HTTP/1.0",
      "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "400 transfer-encoding",
    ],
    [
      "CL.TE",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "400 ambiguous-length",
    ],
    [
      "TE.CL",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
      "400 ambiguous-length",
    ],
    [
      "two lengths",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
      "400 ambiguous-length",
    ],
    ["obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", "400 malformed"],
    ["NUL", "GET / HTTP/1.1\r\nHost: a\r\nX: b\0\r\n\r\n", "400 malformed"],
    ["bare LF", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "400 malformed"],
    ["space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 malformed"],
    ["HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 version"],
    ["HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 version"],
    ["HTTP/0.9", "GET /\r\n\r\n", "505 version"],
    ["a large head", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(9000)}\r\n\r\n`, "431 head-too-large"],
    ["many fields", `GET / HTTP/1.1\r\nHost: a\r\n${"X: a\r\n".repeat(300)}\r\n`, "431 head-too-large"],
    ["a long target", `GET /${"a".repeat(3000)} HTTP/1.1\r\nHost: a\r\n\r\n`, "414 target-too-long"],
    ["another expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: coffee\r\n\r\n", "417 expectation"],
  ])("%s is refused with the host's words, and the connection closes", async (_name, text, refusal) => {
    const { port, seen, refusals } = await start(engine, { limits: { headBytes: 8192, targetBytes: 2048 } });
    const raw = rawConnection(port);
    raw.send(`${text}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n`);
    const answer = await raw.closes();
    expect(refusals).toEqual([refusal]);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${refusal.slice(0, 3)} `));
    expect(answer).toMatch(/Connection: close\r\n/i);
    expect(answer).toContain(`{"reason":"${refusal.slice(4)}"}`);
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(seen).toEqual([]);
  });

  test("absolute form with the same authority is taken", async () => {
    const { port, seen } = await start(engine);
    const raw = rawConnection(port);
    raw.send("GET http://A.test:81?x=y HTTP/1.1\r\nHost: a.test:81\r\n\r\n");
    await raw.reads(/GET $/);
    expect(seen[0]?.path).toBe("/?x=y");
    raw.socket.destroy();
  });

  test("a head that comes too slowly is ended", async () => {
    const { port, refusals } = await start(engine, { timeouts: { headMs: 150 } });
    const raw = rawConnection(port);
    raw.send("GET / HTTP/1.1\r\nHo");
    const drip = setInterval(() => raw.send("s"), 20);
    const text = await raw.closes();
    clearInterval(drip);
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(refusals).toEqual(["408 timeout"]);
  });

  test("an idle connection is closed", async () => {
    const { port } = await start(engine, { timeouts: { idleMs: 100 } });
    const raw = rawConnection(port);
    raw.send(HELLO);
    await raw.reads(/GET $/);
    await raw.closes();
  });

  test("a body that stops coming ends the exchange with 408", async () => {
    const { port, seen } = await start(engine, { timeouts: { bodyIdleMs: 150 } });
    const raw = rawConnection(port);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    expect(await raw.closes()).toMatch(/^HTTP\/1\.1 408 /);
    await until("outcome", () => seen[0]?.outcome !== null);
    expect(seen[0]?.outcome).toEqual({ kind: "gone", reason: "body-timeout" });
  });

  test("a body that breaks the rules ends the exchange with 400", async () => {
    const { port, seen } = await start(engine);
    const raw = rawConnection(port);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    await until("the first chunk", () => seen[0]?.body === "ab");
    raw.send("zz\r\n");
    expect(await raw.closes()).toMatch(/^HTTP\/1\.1 400 /);
    await until("outcome", () => seen[0]?.outcome !== null);
    expect(seen[0]?.outcome).toEqual({ kind: "gone", reason: "body-malformed" });
  });

  test.each(["end", "destroy", "resetAndDestroy"] as const)("a client's %s is told at once", async (how) => {
    const { port, seen, server } = await start(engine, { answer: () => undefined });
    const raw = rawConnection(port);
    raw.send(HELLO);
    await until("the request", () => seen.length === 1);
    raw.socket[how]();
    await until("outcome", () => seen[0]?.outcome !== null, { timeoutMs: 1000 });
    expect(seen[0]?.outcome?.kind).toBe("gone");
    expect(server.active).toBe(0);
    await until("no connection", () => server.connections === 0);
  });

  test("an early answer reaches a client that goes on sending", async () => {
    const { port } = await start(engine, {
      limits: { drainBytes: 64 * 1024 },
      early: (exchange) => void exchange.respond(413, [], "too much"),
    });
    const raw = rawConnection(port);
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    raw.send(Buffer.alloc(30_000));
    const text = await raw.closes();
    expect(text).toMatch(/^HTTP\/1\.1 413 [^]*too much$/);
  });

  test("after an early answer to a small body the connection goes on", async () => {
    const { port, seen } = await start(engine, { early: (exchange) => void exchange.respond(403, [], "no") });
    const raw = rawConnection(port);
    raw.send("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
    await raw.reads(/no$/);
    raw.send("cdefGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    await raw.reads(/no[^]*no$/);
    expect(seen.map(({ path, body }) => [path, body])).toEqual([
      ["/1", ""],
      ["/2", ""],
    ]);
    raw.socket.destroy();
  });

  test("a client that does not read holds back the handler, and its memory", async () => {
    let exchange: Exchange | null = null;
    const fill = (given: Exchange): void => {
      while (given.write(Buffer.alloc(32 * 1024)));
    };
    const { port } = await start(engine, {
      early(given) {
        exchange = given;
        given.head(200, []);
        fill(given);
      },
      writable: fill,
    });
    const raw = rawConnection(port);
    raw.socket.pause();
    raw.send(HELLO);
    const held = (): number => exchange?.unsentBytes ?? 0;
    // Full for longer than a turn: the kernel's buffers are full too.
    let times = 0;
    await until("a full socket", () => (times = held() > 0 ? times + 1 : 0) > 5);
    expect(held()).toBeLessThan(256 * 1024);
    raw.socket.destroy();
  });

  test("a client that never reads is cut", async () => {
    const { port, seen } = await start(engine, {
      timeouts: { writeIdleMs: 200 },
      early(given) {
        given.head(200, []);
        while (given.write(Buffer.alloc(1024 * 1024)));
      },
      writable(given) {
        while (given.write(Buffer.alloc(1024 * 1024)));
      },
    });
    const raw = rawConnection(port);
    raw.socket.pause();
    raw.send(HELLO);
    await until("outcome", () => seen[0]?.outcome !== undefined && seen[0].outcome !== null, { timeoutMs: 5000 });
    expect(seen[0]?.outcome).toEqual({ kind: "gone", reason: "write-timeout" });
    raw.socket.destroy();
  });

  test("a paused body stops the client, and goes on where it stopped", async () => {
    let exchange: Exchange | null = null;
    const { port, seen } = await start(engine, {
      early(given) {
        exchange = given;
        given.pause();
      },
    });
    const raw = rawConnection(port);
    const total = 20 * 1024 * 1024;
    raw.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`);
    raw.send(Buffer.alloc(total, 0x78));
    await until("the request", () => exchange);
    await until("a full socket", () => raw.socket.bytesWritten > 0 && raw.socket.writableLength > 0);
    expect(seen[0]?.body.length).toBeLessThan(256 * 1024);
    (exchange as Exchange | null)?.resume();
    await until("the whole body", () => seen[0]?.body.length === total);
    raw.socket.destroy();
  });

  test("ws takes the socket over, with what came after the head", async () => {
    const sockets = new WebSocketServer({ noServer: true });
    const { port, server, seen } = await start(engine, {
      early(exchange) {
        const taken = exchange.takeSocket();
        if (taken === null) {
          exchange.respond(200, [], "plain");
          return;
        }
        sockets.handleUpgrade(taken.message, taken.socket, taken.head, (socket) => {
          socket.on("message", (data) => socket.send(data));
        });
      },
    });
    const socket = new WebSocket(`ws://127.0.0.1:${port}/x`, ["p"]);
    const echoed = await new Promise<string>((resolve, reject) => {
      socket.on("open", () => socket.send("hello"));
      socket.on("message", (data: Buffer) => resolve(data.toString()));
      socket.on("error", reject);
    });
    expect(echoed).toBe("hello");
    expect(seen[0]?.outcome).toEqual({ kind: "gone", reason: "taken" });
    expect(server.active).toBe(0);
    socket.terminate();

    // Another upgrade is an ordinary request.
    const raw = rawConnection(port);
    raw.send(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
    );
    await raw.reads(/plain$/);
    raw.socket.destroy();
  });

  test("an upgrade may be answered in HTTP, also later", async () => {
    const { port } = await start(engine, {
      early: (exchange) => void setTimeout(() => exchange.respond(403, [], "no"), 20),
    });
    const raw = rawConnection(port);
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    expect(await raw.reads(/no$/)).toMatch(/^HTTP\/1\.1 403 /);
    raw.socket.destroy();
  });

  test("a graceful close finishes what is under way and cuts what does not end", async () => {
    const { port, server } = await start(engine, {
      answer(exchange, { path }) {
        if (path === "/slow") setTimeout(() => exchange.respond(200, [], "done"), 100);
      },
    });
    const [idle, slow, stuck] = [rawConnection(port), rawConnection(port), rawConnection(port)];
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    stuck.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n");
    await until("three connections", () => server.connections === 3 && server.active === 2);
    const closed = server.close(400);
    expect(await slow.closes()).toMatch(/Connection: close[^]*done$/i);
    await idle.closes();
    await closed;
    await stuck.closes();
    expect(server.active).toBe(0);
  });

  test("too many connections are told so", async () => {
    const { port, server } = await start(engine, { limits: { connections: 1 } });
    const first = rawConnection(port);
    await until("one", () => server.connections === 1);
    expect(await rawConnection(port).closes()).toMatch(/^HTTP\/1\.1 503 /);
    first.socket.destroy();
  });

  test("HTTPS", async () => {
    const pair = selfSigned({ dns: ["a.test"] });
    const { port } = await start(engine, { tls: pair, answer: (x) => void x.respond(200, [], String(x.encrypted)) });
    const body = await new Promise<string>((resolve, reject) => {
      const request = tlsRequest(
        { port, host: "127.0.0.1", servername: "a.test", ca: pair.cert, agent: false },
        (response) => {
          response.on("data", (chunk: Buffer) => resolve(chunk.toString()));
        },
      );
      request.on("error", reject);
      request.end();
    });
    expect(body).toBe("true");
  });

  test("node:http as a client: thousands of requests on few connections, nothing left behind", async () => {
    const { port, server } = await start(engine);
    const { Agent } = await import("node:http");
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const one = (n: number) =>
      new Promise<string>((resolve, reject) => {
        const request = nodeRequest({ port, host: "127.0.0.1", agent, method: "POST", path: `/${n}` }, (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => (text += chunk.toString()));
          response.on("end", () => resolve(text));
        });
        request.on("error", reject);
        request.end(String(n));
      });
    for (let round = 0; round < 20; round += 1) {
      const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => one(n)));
      expect(answers).toEqual(Array.from({ length: 100 }, (_, n) => `POST ${n}`));
    }
    expect(server.connections).toBeLessThanOrEqual(8);
    await until("no exchange", () => server.active === 0);
    agent.destroy();
  });
});
