import { createHash } from "node:crypto";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { until } from "../support/until.ts";
import { freePorts } from "../support/ports.ts";
import { HTML, send, type Answer, type Send } from "./edge/browser.ts";
import { parseEcho, startTestNode, type Echo, type TestNode } from "./edge/origin.ts";
import { rawRequest } from "./edge/raw-request.ts";
import { BASE, tenantRecord, toService } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// The real edge, portal pages and directory on workerd; nodes are Node servers that verify the proof.
const WALTER = "nod_walter";
const HANK = "nod_hank";
let stack: EdgeStack;
let walter: TestNode;
let hank: TestNode;

beforeAll(async () => {
  // No page in this file needs an account.
  stack = await startEdgeStack("postgres://nobody:nothing@127.0.0.1:1/none", { OUTAGE_MINUTES: "0.1" });
  walter = await startTestNode(WALTER, stack.proofKey);
  hank = await startTestNode(HANK, stack.proofKey);
  await stack.publish(tenantRecord("acme", { id: WALTER, url: walter.url }, { routes: acmeRoutes }));
  await stack.publish(tenantRecord("globex", { id: HANK, url: hank.url }));
});
afterAll(async () => {
  await stack.stop();
  await Promise.all([walter.stop(), hank.stop()]);
});

const acmeRoutes = [toService("/app"), toService("/app-frontend"), toService("/manager", "member")];
const hostOf = (name: string): string => `${name}.${BASE}:${stack.port}`;
const ask = (name: string, path: string, over: Partial<Send> = {}): Promise<Answer> =>
  send(stack.port, { host: hostOf(name), path, ...over });
const echoOf = (answer: Answer): Echo => parseEcho(answer.body);
const codeOf = (answer: Answer) => [answer.status, answer.headers["causeway-error"]];

describe("a request to a tenant", () => {
  test("reaches its own node, each tenant its own, with a proof of host and tenant (H01, H02, D4)", async () => {
    const acme = echoOf(await ask("acme", "/app"));
    const globex = echoOf(await ask("globex", "/app"));
    expect([acme.node, acme.proof]).toMatchObject([WALTER, { aud: WALTER, tenant: "ten_acme", host: `acme.${BASE}` }]);
    expect([globex.node, globex.proof]).toMatchObject([HANK, { aud: HANK, tenant: "ten_globex" }]);
    expect(acme.proof.exp - acme.proof.iat).toBe(300);
  });

  test.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])("keeps method and body of a %s (H01)", async (method) => {
    const body = Buffer.from("body \u0000 of bytes");
    const echo = echoOf(await ask("acme", "/app", { method, body, headers: { "content-length": "15" } }));
    expect(echo).toMatchObject({ method, bytes: body.length, sha256: createHash("sha256").update(body).digest("hex") });
    expect(echo.headers["content-length"]).toBe("15");
  });

  test.each([
    "/app/a%2Fb/%7Ec?q=%20x&q=2",
    "/app/?",
    "/app//x",
    "/app/%E2%82%AC/%ff?%00=%zz",
    "/app/a|b;d=e:@!$&'()*,~-._",
    "/app/%2B+?a=+%2B",
  ])("%s arrives unchanged (H13)", async (path) => {
    expect(echoOf(await ask("acme", path)).path).toBe(path);
  });

  test("the service can tell the visitor's host, scheme and address (H09, P15)", async () => {
    const { headers } = echoOf(await ask("acme", "/app"));
    expect(headers).toMatchObject({
      "x-forwarded-host": hostOf("acme"),
      "x-forwarded-proto": "http",
      "x-forwarded-port": String(stack.port),
      "x-forwarded-for": "127.0.0.1",
      forwarded: `for=127.0.0.1;host="${hostOf("acme")}";proto=http`,
    });
    expect(headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
    expect(headers["causeway-request-id"]).toMatch(/^req_/);
  });

  test("is answered by its node alone: tenants of one node have the same addresses there, and no cache may stand between", async () => {
    const asked = async (headers: Record<string, string> = {}) => {
      const echo = echoOf(await ask("acme", "/app/logo.png", { headers }));
      return [echo.headers["pragma"], echo.headers["cache-control"]];
    };
    // What the runtime says to the origin of a request that its cache is kept out of; services that look for `no-cache` would never answer 304.
    expect(await asked()).toEqual(["no-cache", "no-transform"]);
    expect(await asked({ "cache-control": "max-age=0" })).toEqual(["no-cache", "max-age=0"]);
    expect(await asked({ "cache-control": "no-cache" })).toEqual(["no-cache", "no-cache"]);
  });

  test("spoofed internal headers change nothing (H10)", async () => {
    const names =
      "x-forwarded-host x-forwarded-for x-tenant-id x-edge-scope x-causeway-host causeway-proof causeway-request-id " +
      "causeway-target x-original-url x-envoy-original-path forwarded x_causeway_host causeway_tenant X_Forwarded_For proxy";
    const spoofed = Object.fromEntries(names.split(" ").map((name) => [name, `globex.${BASE}`]));
    const echo = echoOf(await ask("acme", "/app", { headers: spoofed }));
    expect([echo.node, echo.proof.tenant]).toEqual([WALTER, "ten_acme"]);
    expect(JSON.stringify(echo.headers)).not.toContain("globex");
  });

  test("an address that the visitor claims is not believed where no platform in front overwrites it (H09)", async () => {
    const { headers } = echoOf(await ask("acme", "/app", { headers: { "cf-connecting-ip": "6.6.6.6" } }));
    expect(headers["x-forwarded-for"]).toBe("127.0.0.1");
    expect(JSON.stringify(headers)).not.toContain("6.6.6.6");
  });

  test.each(["ACME.Causeway.LocalHost", `acme.${BASE}.`, `Acme.${BASE}`])(
    "%s is the same tenant (H11)",
    async (host) => {
      for (const port of ["", `:${stack.port}`, ":1"]) {
        expect(echoOf(await send(stack.port, { host: host + port, path: "/app" })).proof.host).toBe(`acme.${BASE}`);
      }
    },
  );

  test("prefixes end at segments (H31), and what no route takes is a 404 of the edge (D5)", async () => {
    expect((await ask("acme", "/app-frontend/x")).status).toBe(200);
    for (const path of ["/apple", "/", "/nothing", "/App"]) {
      expect(codeOf(await ask("acme", path))).toEqual([404, "no-route"]);
      expect(codeOf(await ask("globex", path))).toEqual([404, "no-route"]);
    }
  });

  test("tenants whose names begin alike stay apart, in either order of creation (H06)", async () => {
    for (const [first, second] of [
      ["umbrella", "umbrella-2"],
      ["hooli-2", "hooli"],
    ] as const) {
      await stack.publish(tenantRecord(first, { id: WALTER, url: walter.url }));
      await stack.publish(tenantRecord(second, { id: HANK, url: hank.url }));
      expect(echoOf(await ask(first, "/app"))).toMatchObject({ node: WALTER, proof: { tenant: `ten_${first}` } });
      expect(echoOf(await ask(second, "/app"))).toMatchObject({ node: HANK, proof: { tenant: `ten_${second}` } });
    }
  });

  test("each one is a log line that names tenant and node (H107)", async () => {
    const { headers } = await ask("acme", "/app/secret-path?token=x");
    const line = await until("the line", () =>
      stack.log.find((each) => each["requestId"] === headers["causeway-request-id"]),
    );
    expect(line).toMatchObject({
      part: "edge",
      msg: "request",
      tenantId: "ten_acme",
      tenant: "acme",
      node: "node-of-acme",
      route: "/app",
      status: 200,
      method: "GET",
    });
    expect(JSON.stringify(line)).not.toMatch(/secret-path|token/);
  });
});

describe("a host that is nobody's", () => {
  test.each(["nobody", "a.acme", "www", "xn--acme-abc", "ab", "demo--nobody"])(
    "%s gets the portal in place: a page for browsers, problem details for programs (H03, H05, H11, D1)",
    async (name) => {
      const page = await ask(name, "/app", { headers: { accept: HTML } });
      expect(codeOf(page)).toEqual([404, "unknown-host"]);
      expect(page.headers["content-type"]).toMatch(/^text\/html/);
      expect(page.headers.location).toBeUndefined();
      expect(page.body).toContain(`${name}.${BASE}`);
      const program = await ask(name, "/app");
      expect(codeOf(program)).toEqual([404, "unknown-host"]);
      expect(JSON.parse(program.body)).toMatchObject({ code: "unknown-host", status: 404 });
    },
  );

  test.each(["127.0.0.1", "other.example", "[::1]", "-x-.example"])("%s too", async (host) => {
    expect(codeOf(await send(stack.port, { host, path: "/app" }))).toEqual([404, "unknown-host"]);
  });

  test("the bare domain answers (H04, G06)", async () => {
    const page = await send(stack.port, { host: `${BASE}:${stack.port}`, headers: { accept: HTML } });
    expect(page.status).toBe(200);
    expect(page.body).toContain("Sign in");
  });

  test("the management API is behind no public host (R08, G07)", async () => {
    for (const host of [BASE, `console.${BASE}`, `api.${BASE}`, `relay.${BASE}`, `acme.${BASE}`]) {
      const answer = await send(stack.port, { host, path: "/api/v1/tenants" });
      expect(answer.status).toBe(404);
      expect(answer.headers["causeway-error"]).toBeDefined();
    }
  });
});

describe("the state of a tenant", () => {
  test.each([
    ["provisioning", "tenant-not-ready"],
    ["suspended", "tenant-suspended"],
    ["failed", "tenant-failed"],
  ] as const)("%s is a page of its own, never data and never the portal's (D2, H08)", async (state, code) => {
    const slug = `state-${state}`;
    await stack.publish(tenantRecord(slug, { id: WALTER, url: walter.url }, { state }));
    const before = walter.requests;
    for (const path of ["/app", "/", "/.causeway/callback"]) {
      expect(codeOf(await ask(slug, path))).toEqual([503, code]);
    }
    const page = await ask(slug, "/app", { headers: { accept: HTML } });
    expect(codeOf(page)).toEqual([503, code]);
    expect(page.body).toContain(`<code>${code}</code>`);
    expect(walter.requests).toBe(before);
  });

  test("a new tenant is there within 2 s though its host was just asked for; no restart (H07)", async () => {
    expect((await ask("fresh", "/app")).status).toBe(404);
    await stack.publish(tenantRecord("fresh", { id: WALTER, url: walter.url }));
    await until("the new tenant", async () => (await ask("fresh", "/app")).status === 200, { timeoutMs: 2_000 });
  });

  test("a suspension holds within 10 s while requests run; a deleted tenant is unknown (H08)", async () => {
    const record = tenantRecord("leaving", { id: WALTER, url: walter.url });
    await stack.publish(record);
    expect((await ask("leaving", "/app")).status).toBe(200);
    await stack.publish({ ...record, state: "suspended", revision: 2 });
    await until("the suspension", async () => codeOf(await ask("leaving", "/app"))[1] === "tenant-suspended", {
      timeoutMs: 10_000,
      intervalMs: 100,
    });
    await (await stack.directoryOf(record.host)).withdraw(record.host, record.tenantId, 3);
    await until("nobody", async () => codeOf(await ask("leaving", "/app"))[1] === "unknown-host", { timeoutMs: 2_000 });
    // A message from before that comes late changes nothing.
    expect(await stack.publish({ ...record, revision: 2 })).toMatchObject({ applied: false, revision: 3 });
  });
});

describe("a node that fails (H14)", () => {
  const onNode = async (slug: string, url: string, id = WALTER) => {
    await stack.publish(tenantRecord(slug, { id, url }));
    return (path: string, over: Partial<Send> = {}) => ask(slug, path, over);
  };

  test("that nobody can connect to is a 502, for browsers as a page", async () => {
    const [port = 0] = await freePorts(1);
    const get = await onNode("dead-node", `http://127.0.0.1:${port}`);
    expect(codeOf(await get("/app"))).toEqual([502, "node-unreachable"]);
    const page = await get("/app", { headers: { accept: HTML } });
    expect(codeOf(page)).toEqual([502, "node-unreachable"]);
    expect(page.headers["content-type"]).toMatch(/^text\/html/);
  });

  test("that breaks off is a 502, that stays silent a 504 after the limit", async () => {
    expect(codeOf(await ask("acme", "/app/reset"))).toEqual([502, "node-unreachable"]);
    const startMs = Date.now();
    expect(codeOf(await ask("acme", "/app/never"))).toEqual([504, "node-timeout"]);
    expect(Date.now() - startMs).toBeGreaterThanOrEqual(3_000);
  });

  test.each([
    ["rate-limited", 429, "1"],
    ["not-available", 503, undefined],
    ["node-timeout", 504, undefined],
    ["body-too-large", 413, undefined],
  ])("what the node's Envoy says itself is told in our words (%s)", async (code, status, retryAfter) => {
    const answer = await ask("acme", `/app/forged?code=${code}`);
    expect([...codeOf(answer), answer.headers["retry-after"]]).toEqual([status, code, retryAfter]);
    expect(answer.body).not.toContain("a node's words");
  });

  test("a slow upload is not a silent node: the wait counts from its end", async () => {
    const body = Buffer.alloc(200_000, 1);
    const answer = await slowUpload(stack.port, hostOf("acme"), body, 3_500);
    expect(answer).toContain(`"bytes":${body.length}`);
  });

  test.each([
    "http://node.example",
    "http://10.0.0.1:8080",
    "ftp://127.0.0.1",
    "https://user:pw@127.0.0.1",
    "nonsense",
  ])("an address like %s is not used", async (url) => {
    const slug = `bad-url-${createHash("sha256").update(url).digest("hex").slice(0, 8)}`;
    const get = await onNode(slug, url);
    expect(codeOf(await get("/app"))).toEqual([502, "node-unreachable"]);
  });

  test("a node of another id does not accept the proof", async () => {
    const get = await onNode("wrong-node", hank.url, WALTER);
    expect((await get("/app")).status).toBe(401);
  });
});

describe("what crosses the edge", () => {
  test("redirects, statuses, encodings and HEAD are the service's own", async () => {
    const redirect = await ask("acme", "/app/redirect");
    expect([redirect.status, redirect.headers.location]).toEqual([302, "http://elsewhere.example/x"]);
    for (const code of [204, 304, 404, 418, 500, 503]) {
      const answer = await ask("acme", `/app/status?code=${code}`);
      expect(codeOf(answer)).toEqual([code, undefined]);
      expect(answer.headers.etag).toBe('"1"');
    }
    const zipped = await ask("acme", "/app/gzip", { headers: { "accept-encoding": "gzip" } });
    expect(zipped.headers["content-encoding"]).toBe("gzip");
    expect(zipped.body.length).toBeLessThan(1_000);
    const head = await ask("acme", "/app/blob?mb=1", { method: "HEAD" });
    expect([head.status, head.headers["content-length"], head.body]).toEqual([200, "1048576", ""]);
  });

  test("a service can't speak in our name or set our cookies (P18)", async () => {
    // A node's Envoy takes the header from services (test/system/node-streams.test.ts); what has it is an error of the node's own.
    const forged = await ask("acme", "/app/forged");
    expect([forged.status, forged.headers["causeway-error"]]).toEqual([502, "node-unreachable"]);
    const answer = await ask("acme", "/app/cookies");
    expect(answer.headers["set-cookie"]).toEqual(["a=1; Path=/"]);
  });

  test("events arrive one by one", async () => {
    const id = String(process.hrtime.bigint());
    const seen = await readEvents(stack.port, hostOf("acme"), `/app/sse?id=${id}`, () =>
      ask("acme", `/app/sse-go?id=${id}`),
    );
    expect(seen).toContain("data: one");
    expect(seen).toContain("data: two");
  });

  test("large bodies stream both ways", async () => {
    const up = Buffer.alloc(32 * 1024 * 1024, 3);
    const echo = echoOf(await ask("acme", "/app/up", { method: "POST", body: up }));
    expect(echo).toMatchObject({ bytes: up.length, sha256: createHash("sha256").update(up).digest("hex") });
    expect((await ask("acme", "/app/blob?mb=32")).body.length).toBe(32 * 1024 * 1024);
  });

  test("WebSockets go through: text, binary, subprotocol, close code (H12)", async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${stack.port}/app/ws`, ["rpc.v1"], {
      headers: { host: hostOf("acme") },
    });
    const received: (string | Buffer)[] = [];
    socket.on("message", (data: Buffer, isBinary) => received.push(isBinary ? data : data.toString()));
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    expect(socket.protocol).toBe("rpc.v1");
    socket.send("text");
    socket.send(Buffer.from([0, 255]));
    await until("both echoes", () => received.length === 2);
    expect(received).toEqual(["text", Buffer.from([0, 255])]);
    socket.close(4000, "bye");
    await new Promise((resolve) => socket.once("close", resolve));

    const closing = new WebSocket(`ws://127.0.0.1:${stack.port}/app/ws?close=1`, { headers: { host: hostOf("acme") } });
    const [code, reason] = await new Promise<[number, Buffer]>((resolve) => {
      closing.once("close", (...closed) => resolve(closed));
    });
    expect([code, reason.toString()]).toEqual([4001, "as asked"]);
  });

  test("a protected WebSocket is refused without a session", async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${stack.port}/manager/ws`, { headers: { host: hostOf("acme") } });
    const error = await new Promise<Error>((resolve) => socket.once("error", resolve));
    expect(error.message).toContain("401");
  });
});

describe("hostile requests (T14)", () => {
  test.each([
    "/app/..%2fmanager",
    "/app/%2e%2e/manager",
    "/app/..;/manager",
    "/%6danager",
    "/app/x%00",
    "/manager%2fx/..%2f",
  ])("%s is refused before any node", async (path) => {
    const before = walter.requests;
    // The runtime resolves plain dot segments itself, before anybody routes: that one is a protected path then.
    expect([400, 401, 404]).toContain((await ask("acme", path)).status);
    expect(walter.requests).toBe(before);
  });

  test.each([
    ["two lengths that differ", "Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"],
    [
      "length and chunks",
      "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
      "0\r\n\r\nGET /app/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ["a length that is none", "Content-Length: +4\r\n", "abcd"],
    ["a bare line feed in a value", "X-A: a\nX-Tenant-Id: b\r\n", ""],
    ["a NUL in a value", "X-A: a\0b\r\n", ""],
    ["a blank before the colon", "X-Tenant-Id : b\r\n", ""],
  ])("%s does not get a second request or header in", async (_, headers, body) => {
    const raw = `POST /app/first HTTP/1.1\r\nHost: ${hostOf("acme")}\r\nConnection: close\r\n${headers}\r\n${body}`;
    const answer = await rawRequest(stack.port, raw);
    expect(answer).not.toContain("smuggled");
    expect(answer.toLowerCase()).not.toContain('"x-tenant-id');
    expect((answer.match(/HTTP\/1\.1 \d/g) ?? []).length).toBeLessThanOrEqual(1);
  });

  test.each([
    ["a service", "acme", "/app/x"],
    ["a route to a target", "acme", "/plant/x"],
    ["a target's host", "demo--acme", "/x"],
    ["the portal", "nobody", "/"],
  ])("content in a GET or HEAD is refused by the edge: to %s (RFC 9110, 9.3.1)", async (_, name, path) => {
    const before = walter.requests;
    for (const method of ["GET", "HEAD"]) {
      const sized = await ask(name, path, { method, body: "hello", headers: { "content-length": "5" } });
      const chunked = await ask(name, path, { method, body: "hello", headers: { "transfer-encoding": "chunked" } });
      expect([codeOf(sized), codeOf(chunked)]).toEqual([
        [400, "bad-request"],
        [400, "bad-request"],
      ]);
    }
    expect(walter.requests).toBe(before);
  });

  test("a GET that says it has a body of no bytes is one without", async () => {
    expect((await ask("acme", "/app", { headers: { "content-length": "0" } })).status).toBe(200);
  });

  test("an absolute-form target with another host than the Host header reaches nobody else's node", async () => {
    const before = hank.requests;
    const raw = `GET http://globex.${BASE}/app HTTP/1.1\r\nHost: acme.${BASE}\r\nConnection: close\r\n\r\n`;
    const answer = await rawRequest(stack.port, raw);
    expect(answer).not.toContain("ten_globex");
    expect(hank.requests).toBe(before);
  });

  test.each([
    ["a path in it", `acme.${BASE}/app`],
    ["an encoded dot", `acme%2e${BASE}`],
    ["fullwidth letters", Buffer.from(`\uff41cme.${BASE}`).toString("latin1")],
    ["a user", `x@acme.${BASE}`],
    ["a query", `acme.${BASE}?`],
    ["a fragment", `acme.${BASE}#`],
    ["a backslash", `acme.${BASE}\\app`],
    ["a tab", `ac\tme.${BASE}`],
    ["a soft hyphen", Buffer.from(`ac\u00adme.${BASE}`).toString("latin1")],
  ])("a Host with %s is refused, though a URL parser makes a tenant's of it (H11)", async (_, host) => {
    const before = walter.requests;
    const answer = await rawRequest(stack.port, `GET /app HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer.toLowerCase()).toContain("causeway-error: bad-request");
    expect(walter.requests).toBe(before);
  });

  test("a request with two Host headers or none gets no tenant's data", async () => {
    const twice = `GET /app HTTP/1.1\r\nHost: acme.${BASE}\r\nHost: globex.${BASE}\r\nConnection: close\r\n\r\n`;
    expect(await rawRequest(stack.port, twice)).not.toMatch(/HTTP\/1\.1 200/);
    expect(await rawRequest(stack.port, "GET /app HTTP/1.1\r\nConnection: close\r\n\r\n")).not.toMatch(
      /HTTP\/1\.1 200/,
    );
  });

  test("no path makes a redirect to another host", async () => {
    for (const path of [
      "//evil.example/x",
      "/\\evil.example",
      "/manager//evil.example",
      "/.causeway/callback?code=x&state=//evil.example",
    ]) {
      const { headers } = await ask("acme", path, { headers: { accept: HTML } });
      if (headers.location !== undefined) expect(new URL(headers.location).host).toBe(`${BASE}:${stack.port}`);
    }
  });
});

test("without the directory tenants are served from the last known records, then 503; never a default node (H18)", async () => {
  await stack.publish(tenantRecord("copied", { id: WALTER, url: walter.url }));
  expect((await ask("acme", "/app")).status).toBe(200);
  await stack.setDirectoryDown(true);
  const startMs = Date.now();
  try {
    // Never asked for in this isolate: from the copy in KV.
    expect((await ask("copied", "/app")).status).toBe(200);
    expect(codeOf(await ask("never-seen", "/app"))).toEqual([503, "not-available"]);
    await until(
      "the end of the outage limit of 6 s",
      async () => codeOf(await ask("acme", "/app"))[1] === "not-available",
      {
        timeoutMs: 15_000,
        intervalMs: 100,
      },
    );
    expect(Date.now() - startMs).toBeGreaterThanOrEqual(5_500);
    expect(codeOf(await ask("copied", "/app"))).toEqual([503, "not-available"]);
  } finally {
    await stack.setDirectoryDown(false);
  }
  await until("service again", async () => (await ask("acme", "/app")).status === 200, { timeoutMs: 5_000 });
});

/** Half of the body, a pause, the other half. */
function slowUpload(port: number, host: string, body: Buffer, pauseMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const half = body.length / 2;
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(
        `POST /app/up HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`,
      );
      socket.write(body.subarray(0, half));
      setTimeout(() => socket.write(body.subarray(half)), pauseMs);
    });
    let received = "";
    socket.on("data", (chunk: Buffer) => (received += chunk.toString()));
    socket.on("close", () => resolve(received));
    socket.on("error", reject);
  });
}

/** Reads a stream of events; calls `go` when the first one is there. */
function readEvents(port: number, host: string, path: string, go: () => Promise<unknown>): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    });
    let received = "";
    let hasGone = false;
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString();
      if (hasGone || !received.includes("data: one")) return;
      hasGone = true;
      go().catch(reject);
    });
    socket.on("close", () => resolve(received));
    socket.on("error", reject);
  });
}
