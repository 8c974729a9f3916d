import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { until } from "../support/until.ts";
import { createSite, type Site } from "./connector/site.ts";
import { acme, hostName, startRelayHost, type RelayHost } from "./relay-node/host.ts";

// What visitors see of `causeway relay`: real relay, real connector process, real targets.
const MIB = 1024 * 1024;
const TOKEN = "a-service-token-of-the-tests-0123456789";
const sha256 = (data: string | Buffer) => createHash("sha256").update(data).digest("hex");

let site: Site;
let relay: RelayHost;
/** Requests that reached the target "own", and how they ended there. */
const seen: { request: IncomingMessage; gone: boolean }[] = [];
let handle: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) => response.end("ok");

beforeAll(async () => {
  site = createSite();
  const demo = await site.demoTarget();
  const own = await site.target(
    (request, response) => {
      const entry = { request, gone: false };
      seen.push(entry);
      response.once("close", () => (entry.gone = !response.writableFinished));
      handle(request, response);
    },
    (server) => {
      const sockets = new WebSocketServer({
        noServer: true,
        handleProtocols: (offered) => (offered.has("two") ? "two" : false),
      });
      server.on("upgrade", (request, socket, head) => {
        if (request.url !== "/ws") {
          socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
          return;
        }
        sockets.handleUpgrade(request, socket, head, (ws) => {
          ws.on("message", (data: Buffer, isBinary) => {
            if (!isBinary && data.toString() === "close") ws.close(4321, "as asked");
            else ws.send(data, { binary: isBinary });
          });
        });
      });
    },
  );
  const tenants = {
    acme: acme(site.publicKey, {
      hosts: ["shop.example.org"],
      routes: [
        { prefix: "/plant", target: "demo" },
        { prefix: "/guarded", target: "own", access: "token" },
        { prefix: "/quick", target: "echo", timeouts: { totalMs: 60_000 } },
      ],
      targets: { ping: { access: "public" } },
      tokens: {
        ci: { sha256: sha256(TOKEN) },
        old: { sha256: sha256("an-expired-token-0123456789"), expiresAt: "2020-01-01T00:00:00Z" },
      },
      settings: { limits: { bodyBytes: 200 * MIB } },
    }),
    globex: {
      connectors: { "plant-1": { keys: [site.publicKey] } },
      settings: { tracing: false },
    },
    // One request at a time.
    narrow: {
      connectors: { "plant-1": { keys: [site.publicKey] } },
      settings: { limits: { requestsPerSecond: 2, bodyBytes: 1_000 } },
    },
  };
  relay = await startRelayHost({ tenants });
  site.process(relay.url, [
    "--target",
    `demo=${demo}`,
    "--target",
    `own=${own}`,
    "--target",
    "echo",
    "--target",
    "ping",
  ]);
  site.process(relay.url, [
    "--tenant",
    "narrow",
    "--instance",
    "narrow-1",
    "--target",
    `own=${own}`,
    "--target",
    "ping",
  ]);
  site.process(relay.url, [
    "--tenant",
    "globex",
    "--instance",
    "globex-1",
    "--target",
    "closed=http://127.0.0.1:1",
    "--target",
    "nowhere=http://no-such-host.invalid",
    "--target",
    `slow=${demo}#timeout=0.3`,
  ]);
  await relay.online(6);
}, 60_000);
afterAll(async () => {
  await site.close();
  await relay.stop();
});

describe("addresses", () => {
  test("a target's own host, a tenant's route, a custom host and the relay's own host lead to the target", async () => {
    expect(await relay.ask("ping--acme", "/x")).toMatchObject({ status: 200, body: "PONG\n" });
    const routed = JSON.parse((await relay.ask("acme", "/plant/headers?a=%2f")).body);
    expect(routed.path).toBe("/headers?a=%2f");
    expect(JSON.parse((await relay.ask("shop.example.org", "/plant/headers")).body).path).toBe("/headers");
    expect((await relay.ask("relay", "/relay/ACME/Ping/any/path?q=1", { method: "DELETE" })).body).toBe("PONG\n");
  });

  test("what belongs to nobody is told apart, with code, request id and type", async () => {
    const cases: [host: string, path: string, status: number, code: string][] = [
      ["nobody", "/", 404, "unknown-host"],
      ["else.example.org", "/", 404, "unknown-host"],
      ["acme", "/nothing", 404, "no-route"],
      ["nothing--acme", "/", 404, "unknown-target"],
      ["relay", "/relay/nobody/ping/", 404, "unknown-host"],
      ["relay", "/", 404, "not-found"],
      ["relay", "/queue/acme/ping/", 501, "not-available"],
      ["relay", "/relay/acme/ping/..%2f..%2fglobex", 400, "bad-request"],
      ["acme", "/plant/..%2fguarded", 400, "bad-request"],
    ];
    for (const [host, path, status, code] of cases) {
      const answer = await relay.ask(host, path);
      expect([answer.status, answer.headers["causeway-error"]], `${host}${path}`).toEqual([status, code]);
      const problem = JSON.parse(answer.body);
      expect(problem).toMatchObject({ code, requestId: answer.headers["causeway-request-id"] });
      expect(answer.headers["content-type"]).toBe("application/problem+json");
    }
  });

  test("a browser gets the same error as a page", async () => {
    const answer = await relay.ask("nothing--acme", "/", { headers: { accept: "text/html,*/*;q=0.8" } });
    expect(answer.headers["content-type"]).toContain("text/html");
    expect(answer.headers["causeway-error"]).toBe("unknown-target");
    expect(answer.body).toContain(String(answer.headers["causeway-request-id"]));
  });

  test("on the relay's shared host no cookie crosses, and pages are sandboxed", async () => {
    const answer = await relay.ask("relay", "/relay/acme/demo/cookies");
    expect(answer.headers["set-cookie"]).toBeUndefined();
    expect(answer.headers["content-security-policy"]).toContain("sandbox");
    const echoed = await relay.ask("relay", "/relay/acme/demo/headers", { headers: { cookie: "a=b" } });
    expect(echoed.body).not.toContain("a=b");
  });

  test("/trace/ names lane, connector, instance and times, where the tenant allows it", async () => {
    const answer = await relay.ask("relay", "/trace/acme/ping/");
    expect(answer.headers["server-timing"]).toMatch(/target;dur=/);
    expect(answer.headers["causeway-trace"]).toMatch(/lane=[ab].*connector="plant-1".*instance=/);
    expect((await relay.ask("relay", "/relay/acme/ping/")).headers["causeway-trace"]).toBeUndefined();
    expect((await relay.ask("relay", "/trace/globex/slow/")).headers["causeway-error"]).toBe("forbidden");
  });
});

describe("headers", () => {
  test("forwarding headers are written anew, internal and hop-by-hop ones dropped, duplicates and order kept", async () => {
    const { body } = await relay.ask("acme", "/plant/headers", {
      headers: {
        "x-forwarded-for": "6.6.6.6",
        forwarded: "for=6.6.6.6",
        "causeway-target": "other",
        "causeway-peer": "v1.x.y",
        connection: "x-mine",
        "x-mine": "1",
        te: "trailers",
        "x-kept": "2",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      },
    });
    const fields = new Map<string, string>(
      JSON.parse(body).headers.map(([name, value]: [string, string]) => [name.toLowerCase(), value]),
    );
    expect(fields.get("x-forwarded-for")).toBe("127.0.0.1");
    expect(fields.get("x-forwarded-host")).toBe(`acme.causeway.localhost:${relay.port}`);
    expect(fields.get("x-forwarded-prefix")).toBe("/plant");
    expect(fields.get("forwarded")).toContain("for=127.0.0.1");
    expect(fields.get("traceparent")).toBe("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    expect(fields.get("causeway-request-id")).toMatch(/^req_/);
    expect(fields.get("x-kept")).toBe("2");
    for (const name of ["causeway-target", "causeway-peer", "x-mine", "te"]) expect(fields.has(name), name).toBe(false);
  });

  test("two cookies stay two", async () => {
    expect((await relay.ask("acme", "/plant/cookies")).headers["set-cookie"]).toHaveLength(2);
  });

  test("smuggling attempts are refused, and the connection is closed", async () => {
    const host = `ping--acme.causeway.localhost`;
    const attempts = [
      `POST / HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      `POST / HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!`,
      `GET / HTTP/1.1\r\nhost: ${host}\r\nhost: other\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost: ${host}\r\nx: a\rb\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost: ${host}\r\nx: a\0b\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost : ${host}\r\n\r\n`,
      `GET / HTTP/1.1\r\n\r\n`,
      `GET http://other.example/ HTTP/1.1\r\nhost: ${host}\r\n\r\n`,
      `CONNECT other:443 HTTP/1.1\r\nhost: ${host}\r\n\r\n`,
      `GET / HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 3\r\n\r\nabc`,
    ];
    const before = seen.length;
    for (const attempt of attempts) {
      const text = await raw(attempt);
      expect(text, attempt).toMatch(/^HTTP\/1\.1 (?:4|5)[0-9]{2} /);
      expect(text.match(/HTTP\/1\.1 [0-9]/g), attempt).toHaveLength(1);
      expect(text, attempt).toContain("causeway-error: bad-request");
    }
    expect(seen.length).toBe(before);
  });
});

/** Sends bytes as they are and waits for the end, at most two seconds: a connection that stays open is not one that was refused. */
async function raw(bytes: string): Promise<string> {
  const socket = connect(relay.port, "127.0.0.1");
  let text = "";
  socket.on("data", (data: Buffer) => (text += data.toString("latin1")));
  socket.on("error", () => undefined);
  socket.write(bytes, "latin1");
  const closed = once(socket, "close");
  const answered = until("an answer", () => /\r\n\r\n/.test(text), { timeoutMs: 5_000 });
  await Promise.race([closed, answered]);
  socket.destroy();
  return text;
}

describe("bodies", () => {
  test("HEAD, 304, ranges, early hints and trailers are as the target gave them", async () => {
    const head = await relay.ask("acme", "/plant/blob?mb=2", { method: "HEAD" });
    expect([head.status, head.headers["content-length"], head.body]).toEqual([200, String(2 * MIB), ""]);
    const page = await relay.ask("acme", "/plant/");
    const again = await relay.ask("acme", "/plant/", { headers: { "if-none-match": String(page.headers.etag) } });
    expect([again.status, again.body]).toEqual([304, ""]);
    expect((await relay.ask("acme", "/plant/trailers")).trailers["x-sum"]).toBe(sha256("body"));
    const hints: unknown[] = [];
    const asked = httpRequest({ port: relay.port, path: "/plant/hints", headers: { host: hostName("acme") } });
    asked.on("information", ({ statusCode, headers }) => hints.push([statusCode, headers.link]));
    asked.end();
    const [response] = await once(asked, "response");
    response.resume();
    expect(hints).toEqual([[103, "</style.css>; rel=preload; as=style"]]);
    handle = (_request, answer) => answer.writeHead(204).end();
    expect((await relay.ask("own--acme", "/", { headers: { authorization: `Bearer ${TOKEN}` } })).status).toBe(204);
  });

  test("each of many at a time gets the answer to its own", async () => {
    const bodies = Array.from({ length: 200 }, (_, i) => `request ${i} `.repeat(i + 1));
    const answers = await Promise.all(bodies.map((body) => relay.ask("echo--acme", "/", { method: "POST", body })));
    expect(answers.map(({ body }) => sha256(body))).toEqual(bodies.map((body) => sha256(body)));
  });

  test("large ones arrive whole, both ways, and both at a time", async () => {
    const up = Buffer.alloc(64 * MIB, "causeway");
    const [down, uploaded] = await Promise.all([
      relay.ask("acme", "/plant/blob?mb=64"),
      relay.ask("acme", "/plant/upload", { method: "POST", body: up }),
    ]);
    expect(sha256(Buffer.from(down.body, "latin1"))).toBe(down.headers["x-content-sha256"]);
    expect(JSON.parse(uploaded.body)).toEqual({ bytes: up.length, sha256: sha256(up) });
  });

  test("a reader that stands still costs neither others nor memory", { timeout: 60_000 }, async () => {
    const before = residentMib();
    const stalled = Array.from({ length: 100 }, () => {
      const socket = connect(relay.port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(`GET /plant/blob?mb=64 HTTP/1.1\r\nhost: ${hostName("acme")}\r\n\r\n`);
      socket.pause();
      return socket;
    });
    await until("all are under way", async () => (await metric("causeway_relay_requests_open")) >= 100);
    for (let i = 0; i < 20; i++) expect((await relay.ask("ping--acme", "/")).status).toBe(200);
    expect(residentMib() - before).toBeLessThan(96);
    for (const socket of stalled) socket.destroy();
    await until("all are gone", async () => (await metric("causeway_relay_requests_open")) === 0);
  });

  test("an answer that a slow reader has taken to its end is over, wherever it stood still", async () => {
    const longest = Buffer.alloc(8 * MIB);
    handle = (request, response) => {
      const bytes = Number(new URL(request.url ?? "", "http://own").searchParams.get("bytes"));
      response.writeHead(200, { "content-length": bytes }).end(longest.subarray(0, bytes));
    };
    // The system's buffers take some megabytes, nobody knows how many: one of these ends just behind them.
    const slow = Array.from({ length: 128 }, async (_, i) => {
      const headers = { host: hostName("own--acme"), authorization: `Bearer ${TOKEN}` };
      const path = `/?bytes=${(i + 1) * 64 * 1024}`;
      const asked = httpRequest({ port: relay.port, path, headers, agent: false }).end();
      return await new Promise<IncomingMessage>((resolve, reject) =>
        asked.once("response", resolve).once("error", reject),
      );
    });
    const responses = await Promise.all(slow);
    let [heldBytes, looks] = [-1, 0];
    await until("all that fits to be on its way", async () => {
      const now = await metric("causeway_relay_accounted_bytes");
      looks = now === heldBytes ? looks + 1 : 0;
      heldBytes = now;
      return looks >= 5;
    });
    await Promise.all(responses.map((response) => once(response.resume(), "end")));
    await until("all are over", async () => (await metric("causeway_relay_requests_open")) === 0);
  });

  test("events come as they are sent", async () => {
    const asked = httpRequest({ port: relay.port, path: "/plant/sse", headers: { host: hostName("acme") } }).end();
    const [response] = await once(asked, "response");
    let text = "";
    response.on("data", (data: Buffer) => (text += data.toString()));
    response.on("error", () => undefined);
    await until("an event", () => text.includes("data:"));
    asked.destroy();
  });

  test("a visitor that goes away ends the work at the target", async () => {
    handle = () => undefined;
    const before = seen.length;
    const asked = httpRequest({
      port: relay.port,
      path: "/",
      headers: { host: hostName("own--acme"), authorization: `Bearer ${TOKEN}` },
    }).end();
    asked.on("error", () => undefined);
    await until("it reached the target", () => seen.length > before);
    asked.destroy();
    await until("the target saw it go", () => seen.at(-1)?.gone);
  });

  test("an answer that breaks off is cut off visibly", async () => {
    handle = (_request, response) => {
      response.writeHead(200, { "content-length": 1_000 });
      response.write("half", () => response.destroy());
    };
    await expect(relay.ask("own--acme", "/", { headers: { authorization: `Bearer ${TOKEN}` } })).rejects.toThrow(
      /aborted|hang up|ECONNRESET/,
    );
  });
});

describe("errors", () => {
  test("of the way to the target name it and carry a code; the target's own carry none", async () => {
    expect(await relay.ask("acme", "/plant/status/500")).toMatchObject({ status: 500 });
    expect((await relay.ask("acme", "/plant/status/503")).headers["causeway-error"]).toBeUndefined();
    for (const [target, status, code] of [
      ["closed", 502, "target-refused"],
      ["nowhere", 502, "target-unresolved"],
      ["slow", 504, "target-timeout"],
    ] as const) {
      const answer = await relay.ask(`${target}--globex`, "/slow?ms=5000");
      expect([answer.status, answer.headers["causeway-error"]]).toEqual([status, code]);
      expect(JSON.parse(answer.body).detail).toContain(`"${target}"`);
    }
  });
});

describe("visitors' rights and limits", () => {
  test("a guarded route wants a service token, which goes no further; so does the target's own host", async () => {
    handle = (request, response) => response.end(request.headers.authorization ?? "none");
    const authorization = `Bearer ${TOKEN}`;
    for (const [host, path] of [
      ["acme", "/guarded/x"],
      ["own--acme", "/x"],
      ["relay", "/relay/acme/own/x"],
    ] as const) {
      for (const headers of [
        {},
        { authorization: "Bearer wrong-wrong-wrong" },
        { authorization: "Bearer an-expired-token-0123456789" },
      ]) {
        const refused = await relay.ask(host, path, { headers });
        expect([refused.status, refused.headers["causeway-error"]]).toEqual([401, "unauthorized"]);
        expect(refused.headers["www-authenticate"]).toContain("Bearer");
      }
      expect(await relay.ask(host, path, { headers: { authorization } })).toMatchObject({ status: 200, body: "none" });
    }
    // Where no token is wanted, the target's own authorization passes.
    const open = await relay.ask("acme", "/plant/headers", { headers: { authorization: "Basic eDp5" } });
    expect(open.body).toContain("Basic eDp5");
    expect(relay.output()).not.toContain(TOKEN);
  });

  test("too many a second get 429 with Retry-After; too long a body 413, before a byte of it is read", async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => relay.ask("ping--narrow", "/")));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    for (const { headers } of refused) {
      expect(headers["causeway-error"]).toBe("rate-limited");
      expect(Number(headers["retry-after"])).toBeGreaterThan(0);
    }
    await until("the rate allows it again", async () => (await relay.ask("ping--narrow", "/")).status === 200);
    const long = await until("an answer that is not 429", async () => {
      const answer = await relay.ask("own--narrow", "/", { method: "POST", body: Buffer.alloc(2_000) });
      return answer.status === 429 ? null : answer;
    });
    expect([long.status, long.headers["causeway-error"]]).toEqual([413, "body-too-large"]);
  });
});

describe("WebSockets", () => {
  const dial = (
    path: string,
    protocols: string[] = [],
    headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` },
  ) =>
    new WebSocket(`ws://127.0.0.1:${relay.port}${path}`, protocols, {
      headers: { host: hostName("own--acme"), ...headers },
    });

  test("carry text, binary, subprotocol and close codes both ways", async () => {
    const socket = dial("/ws", ["one", "two"]);
    await once(socket, "open");
    expect(socket.protocol).toBe("two");
    expect(socket.extensions).toBe("");
    for (const [data, isBinary] of [
      ["grüße", false],
      [Buffer.alloc(300_000, 7), true],
      ["", false],
    ] as const) {
      socket.send(data, { binary: isBinary });
      const [back, backIsBinary] = await once(socket, "message");
      expect([backIsBinary, back.equals(Buffer.from(data))]).toEqual([isBinary, true]);
    }
    socket.send("close");
    const [code, reason] = await once(socket, "close");
    expect([code, reason.toString()]).toEqual([4321, "as asked"]);
  });

  test("get the target's refusal as it is, and none without a right", async () => {
    const status = async (socket: WebSocket) => {
      socket.on("error", () => undefined);
      const [, response] = await once(socket, "unexpected-response");
      return [response.statusCode, response.headers["causeway-error"]];
    };
    expect(await status(dial("/other"))).toEqual([403, undefined]);
    expect(await status(dial("/ws", [], {}))).toEqual([401, "unauthorized"]);
  });

  test("that a visitor drops are dropped at the target", async () => {
    const socket = dial("/ws");
    await once(socket, "open");
    await until("one is open", async () => (await metric("causeway_relay_requests_open")) === 1);
    socket.terminate();
    await until("none is open", async () => (await metric("causeway_relay_requests_open")) === 0);
  });
});

test("every request leaves one line, without query and secrets", async () => {
  const answer = await relay.ask("acme", "/plant/headers?secret=hidden-thing");
  const id = String(answer.headers["causeway-request-id"]);
  const line = await until("its line", () =>
    relay
      .output()
      .split("\n")
      .find((text) => text.includes(id)),
  );
  expect(JSON.parse(line)).toMatchObject({
    msg: "request",
    tenant: "acme",
    target: "demo",
    connector: "plant-1",
    status: 200,
    method: "GET",
  });
  expect(relay.output()).not.toContain("hidden-thing");
});

const residentMib = (): number => Number(/VmRSS:\s*([0-9]+)/.exec(readStatus())?.[1] ?? 0) / 1024;
const readStatus = (): string => readFileSync(`/proc/${relay.child.pid}/status`, "utf8");

/** Sum over all labels. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${relay.adminPort}/metrics`)).text();
  return [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? ([0-9.e+-]+)$`, "gm"))].reduce(
    (sum, [, value]) => sum + Number(value),
    0,
  );
}
