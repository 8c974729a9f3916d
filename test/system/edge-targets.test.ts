import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { until } from "../support/until.ts";
import { HTML, send, type Answer, type Send } from "./edge/browser.ts";
import { BASE, tenantRecord, toTarget } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// The real edge and directory on workerd; lanes whose targets say by their names what they do (test/workerd/edge/fixtures/parts.ts).
let stack: EdgeStack;

beforeAll(async () => {
  stack = await startEdgeStack("postgres://nobody:nothing@127.0.0.1:1/none");
  const node = { id: "nod_1", url: "http://127.0.0.1:1" };
  const timeouts = { firstByteMs: 1_500, idleMs: null, totalMs: 90_000 };
  const routes = [
    toTarget("/plant", "echo"),
    toTarget("/guarded", "guarded", "member"),
    { ...toTarget("/hasty", "hasty"), timeouts },
  ];
  await stack.publish(tenantRecord("acme", node, { routes }));
});
afterAll(() => stack.stop());

const hostOf = (name: string): string => `${name}.${BASE}:${stack.port}`;
const ask = (name: string, path: string, over: Partial<Send> = {}): Promise<Answer> =>
  send(stack.port, { host: hostOf(name), path, ...over });
const codeOf = (answer: Answer) => [answer.status, answer.headers["causeway-error"]];

const laneEcho = z.object({
  lane: z.string(),
  method: z.string(),
  visit: z.object({
    target: z.string(),
    path: z.string(),
    host: z.string(),
    urgency: z.number(),
    firstByteMs: z.number().nullable(),
    idleMs: z.number().nullable(),
    totalMs: z.number().nullable(),
    trace: z.boolean(),
  }),
  headers: z.record(z.string(), z.string()),
  bytes: z.number(),
});
const laneEchoOf = (answer: Answer) => laneEcho.parse(JSON.parse(answer.body));

describe("a request to a target", () => {
  test("by a route: the prefix is cut off, the rest unchanged", async () => {
    const echo = laneEchoOf(await ask("acme", "/plant/a%2Fb?x=%20", { method: "POST", body: "1234" }));
    expect(echo).toMatchObject({
      visit: { target: "echo", path: "/a%2Fb?x=%20", host: hostOf("acme"), trace: false, urgency: 3, totalMs: null },
      method: "POST",
      bytes: 4,
    });
    expect(echo.headers).toMatchObject({ "x-forwarded-host": hostOf("acme"), "x-forwarded-prefix": "/plant" });
  });

  test("by its own host: the whole path, in upper case too", async () => {
    const echo = laneEchoOf(await send(stack.port, { host: `Demo--ACME.${BASE}`, path: "/x" }));
    expect(echo).toMatchObject({ visit: { target: "demo", path: "/x", host: `demo--acme.${BASE}` } });
  });

  test("by the relay host, without cookies either way and sandboxed (P01, D16)", async () => {
    const host = `relay.${BASE}`;
    const answer = await send(stack.port, { host, path: "/relay/ACME/Echo/x%20y?z", headers: { cookie: "a=1" } });
    const echo = laneEchoOf(answer);
    expect(echo).toMatchObject({ visit: { target: "echo", path: "/x%20y?z", host } });
    expect(echo.headers["cookie"]).toBeUndefined();
    expect(answer.headers["set-cookie"]).toBeUndefined();
    expect(answer.headers["content-security-policy"]).toMatch(/sandbox/);
    expect(answer.headers["content-security-policy"]).toMatch(/img-src/);
    expect((await send(stack.port, { host, path: "/relay/acme/echo" })).status).toBe(200);
    expect((await send(stack.port, { host, path: "/relay/acme@default/echo" })).status).toBe(200);
  });

  test.each([
    ["/relay/nobody/echo/", 404, "unknown-host"],
    ["/relay/acme@other/echo/", 404, "unknown-host"],
    ["/relay/acme/a--b/", 404, "unknown-target"],
    ["/relay/acme/guarded/", 401, "unauthorized"],
    ["/relay/acme/echo/..%2f..%2fglobex", 400, "bad-request"],
    ["/queue/acme/echo/", 501, "not-available"],
    ["/queue", 501, "not-available"],
    ["/queued", 404, "not-found"],
    ["/trace/acme/guarded/", 401, "unauthorized"],
    ["/trace/acme", 404, "not-found"],
    ["/relay/acme", 404, "not-found"],
    ["/", 404, "not-found"],
    ["/app", 404, "not-found"],
  ])("%s on the relay host is %i %s", async (path, status, code) => {
    expect(codeOf(await send(stack.port, { host: `relay.${BASE}`, path }))).toEqual([status, code]);
  });

  test("the trace address tells how the answer came about, where the tenant allows it; others tell nothing (P03)", async () => {
    const host = `relay.${BASE}`;
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const answer = await send(stack.port, { host, path: "/trace/ACME/echo/x", headers: { traceparent } });
    expect(laneEchoOf(answer)).toMatchObject({ visit: { trace: true, path: "/x" } });
    expect(laneEchoOf(answer).headers).toMatchObject({ "x-forwarded-prefix": "/trace/ACME/echo", traceparent });
    const id = String(answer.headers["causeway-request-id"]);
    expect(answer.headers["causeway-trace"]).toBe(
      `request=${id}; trace=0af7651916cd43dd8448eb211c80319c; lane=a; connector="plant"`,
    );
    expect(answer.headers["server-timing"]).toMatch(/^target;dur=3, edge;dur=\d+$/);
    for (const path of ["/relay/acme/echo/x", "/trace/acme/untraced/x"]) {
      const { headers } = await send(stack.port, { host, path });
      expect([headers["causeway-trace"], headers["server-timing"]]).toEqual([undefined, undefined]);
    }
  });

  test("queues are told apart from what never was: 501, in the body too", async () => {
    const answer = await send(stack.port, { host: `relay.${BASE}`, path: "/queue/acme/echo/x", method: "POST" });
    expect(JSON.parse(answer.body)).toMatchObject({
      type: "https://causeway.dev/errors#not-available",
      status: 501,
      code: "not-available",
      requestId: answer.headers["causeway-request-id"],
    });
  });

  test("urgency and the route's timeouts go with it, on every address of the target (T09)", async () => {
    const hasty = { firstByteMs: 1_500, idleMs: null, totalMs: 90_000 };
    const headers = { priority: "u=1, i" };
    const host = `relay.${BASE}`;
    const answers = [
      await ask("acme", "/hasty/x", { headers }),
      await send(stack.port, { host: `hasty--acme.${BASE}`, headers }),
      await send(stack.port, { host, path: "/relay/acme/hasty/", headers }),
    ];
    for (const answer of answers) expect(laneEchoOf(answer).visit).toMatchObject({ ...hasty, urgency: 1 });
    const other = await ask("acme", "/plant/x");
    expect(laneEchoOf(other).visit).toMatchObject({ firstByteMs: null, totalMs: null, urgency: 3 });
  });

  test("what a visitor sends in our name reaches nobody (H10, T14)", async () => {
    const visit = "31    req_x wiki 00-x http://evil.example   v1 /x";
    const answer = await ask("acme", "/plant/x", {
      headers: {
        "causeway-visit": visit,
        "causeway-connect": "x",
        "causeway-target": "wiki",
        "x-forwarded-for": "6.6.6.6",
      },
    });
    expect(laneEchoOf(answer)).toMatchObject({ visit: { target: "echo", path: "/x" } });
    expect(JSON.stringify(laneEchoOf(answer).headers)).not.toMatch(
      /wiki|evil|6\.6\.6\.6|causeway-(?:visit|connect|target)/,
    );
    expect(laneEchoOf(answer).headers["x-forwarded-for"]).toBe("127.0.0.1");
  });

  test.each(["GET", "HEAD", "POST", "DELETE"])("odd fields of a %s come through as they were sent", async (method) => {
    const headers = { "x-odd": "\\u0041\t \\", "zz-two": ["a", ""] };
    const answer = await ask("acme", "/plant/x", { method, headers });
    expect(answer.status).toBe(200);
    if (method !== "HEAD")
      expect(laneEchoOf(answer).headers).toMatchObject({ "x-odd": "\\u0041\t \\", "zz-two": "a, " });
  });

  test("a GET that says it has a body of no bytes is one without (T14)", async () => {
    expect((await ask("acme", "/plant/x", { headers: { "content-length": "0" } })).status).toBe(200);
  });

  test("an address that is too long to be carried is refused", async () => {
    const answer = await ask("acme", `/plant/${"x".repeat(33_000)}`);
    expect(codeOf(answer)).toEqual([400, "bad-request"]);
    expect(laneEchoOf(await ask("acme", `/plant/${"x".repeat(12_000)}`)).visit.path).toHaveLength(12_001);
  });

  test("a limit that is reached comes back as the lane said it, with Retry-After (P16, P18)", async () => {
    const answer = await send(stack.port, { host: `limited--acme.${BASE}` });
    expect(codeOf(answer)).toEqual([429, "rate-limited"]);
    expect(answer.headers["retry-after"]).toBe("7");
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    const page = await send(stack.port, { host: `limited--acme.${BASE}`, headers: { accept: HTML } });
    expect(codeOf(page)).toEqual([429, "rate-limited"]);
    expect(page.headers["retry-after"]).toBe("7");
    expect(page.headers["content-type"]).toMatch(/^text\/html/);
  });

  test("redirects and errors of a target are its own (P18)", async () => {
    const moved = await send(stack.port, { host: `moved--acme.${BASE}` });
    expect([moved.status, moved.headers.location]).toEqual([302, "http://elsewhere.example/x"]);
    const error = await send(stack.port, { host: `own-error--acme.${BASE}`, headers: { accept: HTML } });
    expect([...codeOf(error), error.headers["retry-after"], error.body]).toEqual([503, undefined, "9", "no"]);
  });

  test("a lane that refuses before the start is tried on the other one, for small bodies and none", async () => {
    for (const target of ["only-a", "only-b"]) {
      for (let i = 0; i < 6; i++) {
        expect(laneEchoOf(await send(stack.port, { host: `${target}--acme.${BASE}` })).lane).toBe(target.slice(-1));
        const posted = await send(stack.port, {
          host: `${target}--acme.${BASE}`,
          method: "POST",
          body: "x".repeat(60_000),
        });
        expect(laneEchoOf(posted)).toMatchObject({ lane: target.slice(-1), bytes: 60_000 });
      }
    }
  });

  test("a body that can't be kept is sent only to the lane that takes it", async () => {
    for (let i = 0; i < 6; i++) {
      const host = `only-b--acme.${BASE}`;
      expect(laneEchoOf(await send(stack.port, { host, method: "POST", body: Buffer.alloc(200_000) }))).toMatchObject({
        lane: "b",
        bytes: 200_000,
      });
      const headers = { "transfer-encoding": "chunked" };
      expect(laneEchoOf(await send(stack.port, { host, method: "POST", body: "abc", headers })).bytes).toBe(3);
    }
  });

  test("when both refuse, the more telling answer is given, without its internal mark, as a page for browsers", async () => {
    for (let i = 0; i < 4; i++) {
      const answer = await send(stack.port, { host: `nobody--acme.${BASE}` });
      expect(codeOf(answer)).toEqual([404, "unknown-target"]);
      expect(answer.headers["causeway-refused"]).toBeUndefined();
    }
    const page = await send(stack.port, { host: `nobody--acme.${BASE}`, headers: { accept: HTML } });
    expect(codeOf(page)).toEqual([404, "unknown-target"]);
    expect(page.body).toContain("It is unknown-target.");
  });

  test("a lane that is lost is repeated on the other one only where that is safe (D14)", async () => {
    for (let i = 0; i < 4; i++) {
      expect(laneEchoOf(await send(stack.port, { host: `lost-a--acme.${BASE}` })).lane).toBe("b");
    }
    const posts = await Promise.all(
      Array.from({ length: 4 }, () => send(stack.port, { host: `lost--acme.${BASE}`, method: "POST", body: "x" })),
    );
    for (const post of posts) expect(codeOf(post)).toEqual([503, "not-available"]);
    expect(codeOf(await send(stack.port, { host: `lost--acme.${BASE}` }))).toEqual([503, "not-available"]);
  });

  test("a long answer of a known length keeps it", async () => {
    const answer = await send(stack.port, { host: `big--acme.${BASE}` });
    expect([answer.status, answer.headers["content-length"], answer.body.length]).toEqual([200, "4194304", 4_194_304]);
  });

  test("small requests avoid the lane that carries a long answer", async () => {
    const abort = new AbortController();
    const lanes = new Set<string>();
    const stream = await openStream(stack.port, `stream--acme.${BASE}`, abort.signal);
    for (let i = 0; i < 12; i++) lanes.add(laneEchoOf(await ask("acme", "/plant/x")).lane);
    abort.abort();
    expect(stream).toBe(200);
    expect(lanes.size).toBe(1);
    // It counts for some seconds: then the lane is chosen again.
    await until(
      "both lanes",
      async () => {
        lanes.add(laneEchoOf(await ask("acme", "/plant/x")).lane);
        return lanes.size === 2;
      },
      { timeoutMs: 15_000 },
    );
  });

  test("a visitor who goes away ends the stream at the lane (P09)", async () => {
    const openStreams = async () => {
      const counts = await Promise.all(
        ["a", "b"].map(async (lane) => (await send(stack.port, { host: `only-${lane}-streams--acme.${BASE}` })).body),
      );
      return counts.filter((count) => count.includes('"open":1')).length;
    };
    await until("no stream", async () => (await openStreams()) === 0);
    const abort = new AbortController();
    expect(await openStream(stack.port, `stream--acme.${BASE}`, abort.signal)).toBe(200);
    expect(await openStreams()).toBe(1);
    abort.abort();
    await until("its end", async () => (await openStreams()) === 0, { timeoutMs: 5_000 });
  });

  test("WebSockets go through, to targets and to the relay's Workers", async () => {
    const wsUrl = `ws://127.0.0.1:${stack.port}`;
    for (const [host, path, expected] of [
      [`demo--acme.${BASE}`, "/ws", /^[ab] hi$/],
      [`relay.${BASE}`, "/connect/a", /^relay hi$/],
      [`relay.${BASE}`, "/connect/b", /^relay hi$/],
      [`relay.${BASE}`, "/node", /^relay hi$/],
    ] as const) {
      const socket = new WebSocket(wsUrl + path, { headers: { host } });
      const message = new Promise<string>((resolve) =>
        socket.once("message", (data: Buffer) => resolve(data.toString())),
      );
      await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
      socket.send("hi");
      expect(await message).toMatch(expected);
      socket.close();
    }
    const headers = { authorization: "Bearer x", "causeway-target": "echo" };
    const passed = await send(stack.port, {
      host: `relay.${BASE}`,
      path: "/node/enroll",
      method: "POST",
      body: "{}",
      headers,
    });
    expect(JSON.parse(passed.body)).toMatchObject({
      url: `http://relay.${BASE}/node/enroll`,
      headers: { authorization: "Bearer x" },
    });
    expect(passed.body).not.toContain("causeway-target");
  });
});

/** Opens an endless answer and answers its status once bytes flow; it ends with the signal. */
function openStream(port: number, host: string, signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
    socket.once("data", (chunk: Buffer) => resolve(Number(chunk.toString("latin1").slice(9, 12))));
    socket.on("error", reject);
    signal.addEventListener("abort", () => socket.destroy());
  });
}
