import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { createOriginClient } from "../../../src/http1/client.ts";
import type { OriginClient, OriginClientOptions } from "../../../src/http1/client-types.ts";
import { localhostLookup } from "../../../src/shared/localhost-lookup.node.ts";
import { selfSigned } from "../../support/certificate.ts";
import { until } from "../../support/until.ts";
import { ask, startOrigin, startServer } from "./support.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
});

function client(port: number, options: Partial<OriginClientOptions> = {}): OriginClient {
  const created = createOriginClient({ origin: new URL(`http://127.0.0.1:${port}`), ...options });
  ends.push(() => created.close(0));
  return created;
}

async function origin(on: (socket: Socket, text: string, nth: number) => void) {
  const started = await startOrigin(on);
  ends.push(() => started.close());
  return started;
}

async function server(options: Parameters<typeof startServer>[0] = {}) {
  const started = await startServer(options);
  ends.push(() => started.server.close(0));
  return started;
}

/** An origin that answers each complete GET with the same bytes. */
const always = (bytes: string, end = false) =>
  origin((socket, text) => {
    if (!text.endsWith("\r\n\r\n")) return;
    if (end) socket.end(bytes, "latin1");
    else socket.write(bytes, "latin1");
  });

describe("answers", () => {
  test("with a length, on one connection", async () => {
    const { port, connections } = await always("HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nContent-Length: 2\r\n\r\nhi");
    const to = client(port);
    for (let i = 0; i < 3; i += 1) {
      const asked = await ask(to);
      expect(asked).toMatchObject({ status: 200, body: "hi", failure: null, trailers: [] });
      expect(asked.headers).toEqual([
        ["A", "1"],
        ["a", "2"],
        ["Content-Length", "2"],
      ]);
    }
    expect(connections()).toBe(1);
    expect(to.stats).toEqual({ open: 1, idle: 1, waiting: 0 });
  });

  test("chunked, with trailers and chunk extensions", async () => {
    const { port } = await always(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    expect(await ask(client(port))).toMatchObject({ body: "hi", trailers: [["X-Sum", "1"]] });
  });

  test("without a length end with the connection, which is not kept", async () => {
    const { port, connections } = await always("HTTP/1.1 200 OK\r\n\r\nhi", true);
    const to = client(port);
    expect(await ask(to)).toMatchObject({ body: "hi", failure: null });
    expect(await ask(to)).toMatchObject({ body: "hi", failure: null });
    expect(connections()).toBe(2);
    expect(to.stats.open).toBe(0);
  });

  test("to HEAD, and 304, have lengths and no bodies", async () => {
    const { port, connections } = await origin((socket, text) => {
      const status = text.includes("HEAD") && !text.includes("GET") ? "200 OK" : "304 Not Modified";
      if (text.endsWith("\r\n\r\n")) socket.write(`HTTP/1.1 ${status}\r\nContent-Length: 5\r\n\r\n`);
    });
    const to = client(port);
    expect(await ask(to, { method: "HEAD" })).toMatchObject({ status: 200, body: "", failure: null });
    expect(await ask(to)).toMatchObject({ status: 304, body: "", failure: null });
    expect(connections()).toBe(1);
  });

  test("interim heads come first", async () => {
    const { port } = await always(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    expect(await ask(client(port))).toMatchObject({ interims: [100, 103], status: 200, failure: null });
  });

  test("split at every byte are the same", async () => {
    const whole =
      "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n";
    let cut = 0;
    const { port, connections } = await origin((socket, text) => {
      if (!text.endsWith("\r\n\r\n")) return;
      cut += 1;
      socket.write(whole.slice(0, cut));
      setImmediate(() => setImmediate(() => socket.write(whole.slice(cut))));
    });
    const to = client(port);
    for (let i = 1; i < whole.length; i += 1) {
      expect(await ask(to)).toMatchObject({
        interims: [103],
        status: 200,
        body: "abc",
        trailers: [["T", "1"]],
        failure: null,
      });
    }
    expect(connections()).toBe(1);
  });
});

describe("what is wrong with an answer", () => {
  test.each([
    ["closes before the head", "", "reset-before-head"],
    ["closes in the head", "HTTP/1.1 200 OK\r\nA: ", "reset-before-head"],
    ["closes in a body with a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "reset-after-head"],
    [
      "closes in a chunked body",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
      "reset-after-head",
    ],
    ["closes after an interim head", "HTTP/1.1 100 Continue\r\n\r\n", "reset-before-head"],
    ["no HTTP", "SSH-2.0-x\r\n", "malformed"],
    ["both lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "malformed"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", "malformed"],
    ["unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", "malformed"],
    ["two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "malformed"],
    ["chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "malformed"],
    ["bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"],
    ["obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "malformed"],
    ["bare LF", "HTTP/1.1 200 OK\nA: b\n\n", "malformed"],
    ["101 that nobody asked for", "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "malformed"],
    ["endless interim heads", "HTTP/1.1 102 Processing\r\n\r\n".repeat(40), "malformed"],
    ["a large head", `HTTP/1.1 200 OK\r\nA: ${"a".repeat(70_000)}\r\n\r\n`, "head-too-large"],
  ])("%s", async (_name, bytes, kind) => {
    const { port } = await always(bytes, true);
    const to = client(port);
    const asked = await ask(to);
    expect(asked.failure).toMatchObject({ kind, sent: true });
    expect(to.stats.open).toBe(0);
  });

  test("garbage after an answer: the answer stands, the connection does not", async () => {
    const { port, connections } = await always(
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    const to = client(port);
    expect(await ask(to)).toMatchObject({ body: "hi", failure: null });
    expect(to.stats.open).toBe(0);
    expect(await ask(to)).toMatchObject({ body: "hi", failure: null });
    expect(connections()).toBe(2);
  });

  test("bytes on an idle connection end it", async () => {
    const { port, connections } = await origin((socket, text) => {
      if (!text.endsWith("\r\n\r\n")) return;
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
      setTimeout(() => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), 20);
    });
    const to = client(port);
    await ask(to);
    await until("the end of it", () => to.stats.open === 0);
    expect(await ask(to)).toMatchObject({ body: "hi" });
    expect(connections()).toBe(2);
  });
});

describe("connections", () => {
  test("what does not connect is told apart", async () => {
    const gone = await origin(() => undefined);
    const { port } = gone;
    gone.close();
    expect((await ask(client(port))).failure).toMatchObject({ kind: "refused", code: "ECONNREFUSED", sent: false });
    const unresolved = client(0, { origin: new URL("http://nothing.invalid") });
    expect((await ask(unresolved)).failure).toMatchObject({ kind: "unresolved", sent: false });
  });

  test("TLS: trusted, untrusted, wrong name, no TLS at all", async () => {
    const pair = selfSigned({ dns: ["a.localhost"] });
    const { port } = await server({ tls: pair });
    const plain = await server();
    const url = new URL(`https://a.localhost:${port}`);
    const lookup = localhostLookup;
    const good = client(port, { origin: url, tls: { ca: pair.cert }, lookup });
    expect(await ask(good)).toMatchObject({ status: 200, failure: null });
    expect(
      await ask(good, { method: "POST", body: "chunked" }, (call) => {
        call.write(Buffer.from("ab"));
        call.end();
      }),
    ).toMatchObject({ body: "POST ab" });
    expect(good.stats.open).toBe(1);
    expect((await ask(client(port, { origin: url, lookup }))).failure).toMatchObject({
      kind: "tls",
      code: "DEPTH_ZERO_SELF_SIGNED_CERT",
      sent: false,
    });
    const other = new URL(`https://b.localhost:${port}`);
    expect((await ask(client(port, { origin: other, tls: { ca: pair.cert }, lookup }))).failure).toMatchObject({
      kind: "tls",
      code: "ERR_TLS_CERT_ALTNAME_INVALID",
    });
    const noTls = new URL(`https://a.localhost:${plain.port}`);
    expect((await ask(client(port, { origin: noTls, lookup }))).failure).toMatchObject({ kind: "tls", sent: false });
  });

  test("a handshake that never comes is a connect-timeout", async () => {
    const { port } = await origin(() => undefined);
    const to = client(port, { origin: new URL(`https://127.0.0.1:${port}`), timeouts: { connectMs: 100 } });
    expect((await ask(to)).failure).toMatchObject({ kind: "connect-timeout", sent: false });
  });

  test("at their limit requests wait, in order, and fail when it takes too long or there are too many", async () => {
    const waiting: Socket[] = [];
    const { port, connections } = await origin((socket) => void waiting.push(socket));
    const to = client(port, { limits: { sockets: 1, waiting: 2 }, timeouts: { queueMs: 200 } });
    const first = ask(to);
    const second = ask(to);
    const third = ask(to);
    expect((await ask(to)).failure).toMatchObject({ kind: "queue-timeout", code: "full" });
    await until("the first", () => waiting.length === 1);
    waiting[0]?.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
    expect((await first).body).toBe("1");
    expect((await third).failure).toMatchObject({ kind: "queue-timeout", sent: false });
    await until("the second", () => waiting.length === 2);
    waiting[1]?.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
    expect((await second).body).toBe("2");
    expect(connections()).toBe(1);
  });

  test("are kept for less than the origin keeps them", async () => {
    const { port } = await always("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n");
    const to = client(port, { timeouts: { idleMs: 60_000 } });
    await ask(to);
    expect(to.stats.idle).toBe(1);
    await until("closed", () => to.stats.open === 0, { timeoutMs: 3000 });
    const none = await always("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n");
    const never = client(none.port);
    await ask(never);
    expect(never.stats.open).toBe(0);
  });

  test.each(["Connection: close\r\n", "Connection: x, Close\r\n"])("are not used again after %j", async (field) => {
    const { port } = await always(`HTTP/1.1 200 OK\r\n${field}Content-Length: 2\r\n\r\nhi`);
    const to = client(port);
    expect((await ask(to)).body).toBe("hi");
    expect(to.stats.open).toBe(0);
  });

  /** Answers the first request of each connection, and kills it when the second one comes. */
  const stale = () =>
    origin((socket, text) => {
      if (text.split("\r\n\r\n").length > 2) socket.resetAndDestroy();
      else if (text.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    });

  test("a kept one that died is replaced once for what may be repeated", async () => {
    const { port, connections } = await stale();
    const to = client(port);
    for (const [method, body] of [
      ["GET", "none"],
      ["PUT", Buffer.alloc(0)],
      ["DELETE", "none"],
    ] as const) {
      await ask(to);
      expect(await ask(to, { method, body })).toMatchObject({ status: 200, failure: null });
    }
    expect(connections()).toBeGreaterThan(3);
  });

  test("and not for what may not", async () => {
    const { port } = await stale();
    for (const [method, body] of [
      ["POST", "none"],
      ["PATCH", Buffer.alloc(0)],
    ] as const) {
      const to = client(port);
      await ask(to);
      expect((await ask(to, { method, body })).failure).toMatchObject({ kind: "reset-before-head", sent: true });
    }
    const to = client(port);
    await ask(to);
    const streamed = await ask(to, { method: "PUT", body: "chunked" }, (call) => call.end());
    expect(streamed.failure).toMatchObject({ kind: "reset-before-head" });
  });

  test("nor on a new one, nor twice", async () => {
    const { port, connections } = await origin((socket) => socket.resetAndDestroy());
    expect((await ask(client(port))).failure).toMatchObject({ kind: "reset-before-head" });
    expect(connections()).toBe(1);
  });
});

describe("bodies", () => {
  test.each(["chunked", 300_000] as const)("%s: whole, with word of what was taken", async (body) => {
    const { port } = await server({ answer: (x, { body }) => void x.respond(200, [], String(body.length)) });
    const asked = await ask(client(port), { method: "POST", body }, (call) => {
      for (let i = 0; i < 3; i += 1) call.write(Buffer.alloc(100_000, i));
      call.end();
    });
    expect(asked).toMatchObject({ body: "300000", sentBytes: 300_000 });
  });

  test("held as bytes are sent with the head", async () => {
    const { port } = await server();
    const to = client(port);
    expect((await ask(to, { method: "PUT", body: Buffer.from("abc") })).body).toBe("PUT abc");
    expect((await ask(to, { method: "PUT", body: Buffer.alloc(10_000, 0x61) })).body).toBe(`PUT ${"a".repeat(10_000)}`);
  });

  test.each([4, 6])("of %i bytes where 5 were announced fail", async (length) => {
    const { port } = await server();
    const asked = await ask(client(port), { method: "POST", body: 5 }, (call) => {
      call.write(Buffer.alloc(length));
      call.end();
    });
    expect(asked.failure?.kind).toBe("body-mismatch");
  });

  test("an origin that does not read holds the writer back", async () => {
    const { port, server: raw } = await origin((socket) => socket.pause());
    raw.on("connection", (socket) => socket.pause());
    const to = client(port);
    let written = 0;
    let room = true;
    const call = to.dispatch(
      { method: "POST", path: "/", headers: [], body: "chunked" },
      {
        head: () => undefined,
        data: () => undefined,
        end: () => undefined,
        failed: () => undefined,
        writable: () => {
          room = true;
        },
      },
    );
    let quiet = 0;
    await until("held back", () => {
      quiet = room ? 0 : quiet + 1;
      while (room) {
        room = call.write(Buffer.alloc(16 * 1024));
        written += 16 * 1024;
      }
      return quiet > 8;
    });
    expect(written).toBeLessThan(32 * 1024 * 1024);
    call.abort();
    expect(to.stats.open).toBe(0);
  });

  test("a paused answer stops the origin, and goes on", async () => {
    const total = 20 * 1024 * 1024;
    const { port } = await origin((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
      socket.write(Buffer.alloc(total));
    });
    let seen = 0;
    let ended = false;
    const call = client(port).dispatch(
      { method: "GET", path: "/", headers: [], body: "none" },
      {
        head: () => call.pause(),
        data: (bytes) => void (seen += bytes.length),
        end: () => void (ended = true),
        failed: () => undefined,
      },
    );
    let before = -1;
    let same = 0;
    await until("stopped", () => {
      same = seen === before ? same + 1 : 0;
      before = seen;
      return same > 5;
    });
    expect(seen).toBeLessThan(512 * 1024);
    call.resume();
    await until("the end", () => ended);
    expect(seen).toBe(total);
  });

  test("an early answer to an unfinished upload is given, and the connection is not used again", async () => {
    const { port } = await origin((socket, text) => {
      if (text.includes("\r\n\r\n")) socket.write("HTTP/1.1 413 x\r\nContent-Length: 2\r\n\r\nno");
    });
    const to = client(port);
    const asked = await ask(to, { method: "POST", body: 1_000_000 }, (call) => void call.write(Buffer.alloc(10)));
    expect(asked).toMatchObject({ status: 413, body: "no", failure: null });
    expect(to.stats.open).toBe(0);
  });
});

describe("time and ends", () => {
  test("no answer in time, and a body that stops", async () => {
    const silent = await origin(() => undefined);
    const late = await ask(client(silent.port), { headTimeoutMs: 100 });
    expect(late.failure).toMatchObject({ kind: "head-timeout", sent: true });
    const stops = await always("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
    const asked = await ask(client(stops.port, { timeouts: { bodyIdleMs: 100 } }));
    expect(asked).toMatchObject({ status: 200, body: "ab", failure: { kind: "body-timeout" } });
  });

  test("abort is silent in every state, and leaves nothing", async () => {
    const { port } = await origin((socket, text) => {
      if (text.includes("/head")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
    });
    const to = client(port, { limits: { sockets: 3 } });
    const heard: string[] = [];
    const handler = {
      head: () => void heard.push("head"),
      data: () => void heard.push("data"),
      end: () => void heard.push("end"),
      failed: () => void heard.push("failed"),
    };
    const request = { method: "GET", headers: [], body: "none" } as const;
    const connecting = to.dispatch({ ...request, path: "/connecting" }, handler);
    connecting.abort();
    const sent = to.dispatch({ ...request, path: "/sent" }, handler);
    const answered = to.dispatch({ ...request, path: "/head" }, handler);
    const third = to.dispatch({ ...request, path: "/third" }, handler);
    const queued = to.dispatch({ ...request, path: "/queued" }, handler);
    expect(to.stats.waiting).toBe(1);
    queued.abort();
    await until("the answer", () => heard.includes("data"));
    for (const call of [sent, answered, third]) call.abort();
    await until("nothing", () => to.stats.open === 0 && to.stats.waiting === 0);
    expect(heard).toEqual(["head", "data"]);
  });

  test("close lets requests end, then cuts them", async () => {
    const { port } = await server({
      answer: (x, { path }) => {
        if (path === "/slow") setTimeout(() => x.respond(200, [], "done"), 50);
      },
    });
    const to = client(port);
    const slow = ask(to, { path: "/slow" });
    const stuck = ask(to, { path: "/stuck" });
    await until("both", () => to.stats.open === 2);
    const closed = to.close(300);
    expect((await ask(to)).failure).toMatchObject({ kind: "closed", sent: false });
    expect((await slow).body).toBe("done");
    expect((await stuck).failure?.kind).toBe("closed");
    await closed;
    expect(to.stats.open).toBe(0);
  });

  test("what can't be sent as HTTP/1.1 is not", async () => {
    const { port, connections } = await origin(() => undefined);
    const to = client(port);
    for (const request of [
      { path: "/a b" },
      { path: "a" },
      { path: "/\r\nX: y" },
      { path: "/\u{e9}" },
      { method: "GE T" },
      { method: "CONNECT" },
      { headers: [["a", "b\r\nc: d"]] },
      { headers: [["a:b", "c"]] },
      {
        headers: [
          ["Host", "a"],
          ["host", "b"],
        ],
      },
    ] as const) {
      expect((await ask(to, request)).failure).toMatchObject({ kind: "invalid-request", sent: false });
    }
    expect(connections()).toBe(0);
  });

  test("the framing is the client's own", async () => {
    let got = "";
    const { port } = await origin((socket, text) => {
      got = text;
      if (text.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    const headers = [
      ["Transfer-Encoding", "chunked"],
      ["content-length", "7"],
      ["Connection", "x"],
      ["Upgrade", "h2c"],
      ["Expect", "100-continue"],
      ["X", "y"],
    ] as const;
    await ask(client(port), { method: "POST", path: "/p", headers });
    expect(got).toBe(`POST /p HTTP/1.1\r\nX: y\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 0\r\n\r\n`);
  });

  test("an upgrade hands over the socket with what came after the head", async () => {
    const { port } = await origin((socket, text) => {
      if (text.endsWith("\r\n\r\n"))
        socket.write("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\nfirst");
      else socket.write(`echo ${text.slice(text.indexOf("\r\n\r\n") + 4)}`);
    });
    const to = client(port);
    let heard = "";
    to.dispatch(
      { method: "GET", path: "/", headers: [], body: "none", upgrade: "websocket" },
      {
        head: () => undefined,
        data: () => undefined,
        end: () => undefined,
        failed: () => undefined,
        upgraded(head, socket, rest) {
          heard = `${head.headers.at(-1)?.join("=")} ${rest.toString()} `;
          socket.on("data", (bytes) => (heard += bytes.toString()));
          socket.on("error", () => undefined);
          socket.write("hi");
          ends.push(() => socket.destroy());
        },
      },
    );
    await until("the echo", () => heard === "A=b first echo hi");
    expect(to.stats.open).toBe(0);
    const refused = await always("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    expect(await ask(client(refused.port), { upgrade: "websocket" })).toMatchObject({ status: 403, body: "no" });
  });

  test("ten thousand requests on few connections leave nothing behind", async () => {
    const { port, server: http } = await server();
    const to = client(port, { limits: { sockets: 16 } });
    const heapBefore = process.memoryUsage().heapUsed;
    for (let round = 0; round < 50; round += 1) {
      const all = await Promise.all(Array.from({ length: 200 }, (_, n) => ask(to, { path: `/${n}` })));
      expect(all.every(({ status, failure }) => status === 200 && failure === null)).toBe(true);
    }
    expect(http.connections).toBeLessThanOrEqual(16);
    expect(to.stats).toMatchObject({ waiting: 0, open: to.stats.idle });
    expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(64 * 1024 * 1024);
    await until("no exchange", () => http.active === 0);
  });
});
