import { readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { ServerOptions } from "node:https";
import { TLSSocket } from "node:tls";
import { WebSocketServer } from "ws";
import { z } from "zod";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ResponseHead } from "../../src/protocol/tunnel/session.ts";
import { selfSigned } from "../support/certificate.ts";
import { until } from "../support/until.ts";
import { headerOf, type Exchange } from "./connector/exchange.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { startTestRelay, type RelayLink, type TestRelay } from "./connector/relay.ts";
import { createSite, web, type Site } from "./connector/site.ts";

const described = z.object({ method: z.string(), url: z.string(), headers: z.array(z.string()) });

// What can be set for a target, with real servers behind a real connector, over both HTTP clients.
describe.each(["llhttp", "undici"] as const)("by %s", (originClient) => {
  let relay: TestRelay;
  let site: Site;
  const servers: Server[] = [];
  let links = 0;

  beforeAll(async () => {
    relay = await startTestRelay();
    site = createSite();
  });
  afterAll(async () => {
    await site.close();
    for (const server of servers) server.close();
    await relay.stop();
  });

  /** A connector of its own with these targets. */
  async function connected(...targets: Parameters<Site["connector"]>[0]["targets"]): Promise<RelayLink> {
    const instanceId = `${originClient}-${(links += 1)}`;
    site.connector({ relay: relay.url, lanes: ["a"], instanceId, originClient, targets });
    return await relay.link("a", { instanceId });
  }
  async function secure(options: ServerOptions, listener: RequestListener): Promise<string> {
    const server = createTlsServer(options, listener);
    server.on("tlsClientError", () => undefined);
    servers.push(server);
    return `https://127.0.0.1:${await listenOnLoopback(server)}`;
  }
  /** A server of bytes: what it gets is collected, what it says is up to the test. */
  async function raw(
    answerTo: (received: string, socket: Socket) => void,
  ): Promise<{ url: string; received: string[] }> {
    const received: string[] = [];
    const server = createTcpServer((socket) => {
      const index = received.push("") - 1;
      socket.on("error", () => undefined);
      socket.on("data", (data) => {
        received[index] += data.toString("latin1");
        answerTo(received[index] ?? "", socket);
      });
    });
    servers.push(server);
    return { url: `http://127.0.0.1:${await listenOnLoopback(server)}`, received };
  }
  const file = (name: string, content: string): string => {
    const path = join(site.folder, `${originClient}-${name}`);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const failure = async (exchange: Exchange): Promise<string> => {
    const outcome = await exchange.outcome;
    return outcome.kind === "reset" ? `${outcome.reason}: ${outcome.text}` : "it answered";
  };
  const echoHead: RequestListener = (request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.rawHeaders }));
  };
  const seen = async (exchange: Exchange): Promise<{ method: string; url: string; fields: [string, string][] }> => {
    const { method, url, headers } = described.parse(JSON.parse(await exchange.text()));
    const fields = headers.flatMap((name, i): [string, string][] =>
      i % 2 === 0 ? [[name.toLowerCase(), headers[i + 1] ?? ""]] : [],
    );
    return { method, url, fields };
  };
  const valueOf = (fields: [string, string][], name: string) =>
    fields.filter(([field]) => field === name).map(([, v]) => v);

  describe("TLS", () => {
    const server = selfSigned({ dns: ["erp.example"], ip: ["127.0.0.1"] });

    test("trusts the machine's authorities and those of tls.ca, for the right name", async () => {
      const url = await secure(server, (_request, response) => void response.end("secret page"));
      const ca = file("ca.pem", server.cert);
      const other = file("other-ca.pem", selfSigned({ dns: ["erp.example"] }).cert);
      const link = await connected(
        web("untrusted", url),
        web("trusted", url, 5000, { tls: { ca } }),
        web("foreign", url, 5000, { tls: { ca: other } }),
        web("named", url, 5000, { tls: { ca, serverName: "erp.example" } }),
        web("misnamed", url, 5000, { tls: { ca, serverName: "crm.example" } }),
      );
      expect(await link.open({ target: "trusted" }).text()).toBe("secret page");
      expect(await link.open({ target: "named" }).text()).toBe("secret page");
      for (const target of ["untrusted", "foreign"]) {
        expect(await failure(link.open({ target }))).toMatch(/^target-tls: .*not trusted.*tls\.ca/);
      }
      expect(await failure(link.open({ target: "misnamed" }))).toMatch(/^target-tls: .*another name.*tls\.serverName/);
      expect(await failure(link.open({ target: "untrusted", upgrade: "websocket" }))).toMatch(/^target-tls: .*tls\.ca/);
    });

    test("checks nothing only when told so, and says it loudly at each start", async () => {
      const url = await secure(server, (_request, response) => void response.end("page"));
      const link = await connected(web("blind", url, 5000, { tls: { insecure: true } }));
      expect(await link.open({ target: "blind" }).text()).toBe("page");
      const warning = site.log.findLast((line) => line.includes("INSECURE"));
      expect(warning).toContain('"level":"warn"');
      expect(warning).toContain('"target":"blind"');
    });

    test("refuses versions below the minimum, and servers without TLS", async () => {
      const old = await secure({ ...server, maxVersion: "TLSv1.2" }, (_request, response) => void response.end("old"));
      const plain = (await site.target(echoHead)).replace("http:", "https:");
      const ca = file("min-ca.pem", server.cert);
      const link = await connected(
        web("old", old, 5000, { tls: { ca } }),
        web("strict", old, 5000, { tls: { ca, minVersion: "1.3" } }),
        web("plain", plain),
      );
      expect(await link.open({ target: "old" }).text()).toBe("old");
      expect(await failure(link.open({ target: "strict" }))).toMatch(/^target-tls: .*minVersion/);
      expect(await failure(link.open({ target: "plain" }))).toMatch(/^target-tls: .*does not speak TLS/);
    });

    test("shows a client certificate, and a renewed one without a restart", async () => {
      const first = selfSigned({ dns: ["connector-1"] });
      const second = selfSigned({ dns: ["connector-2"] });
      const options = { ...server, requestCert: true, rejectUnauthorized: true, ca: [first.cert, second.cert] };
      const url = await secure(options, (request, response) => {
        const { socket } = request;
        response.end(socket instanceof TLSSocket ? String(socket.getPeerCertificate().subject.CN) : "no TLS");
      });
      const ca = file("client-ca.pem", server.cert);
      const certificate = file("client.pem", first.cert);
      const key = file("client.key", first.key);
      const link = await connected(
        web("with", url, 5000, { tls: { ca, certificate, key } }),
        web("without", url, 5000, { tls: { ca } }),
      );
      expect(await link.open({ target: "with" }).text()).toBe("connector-1");
      expect(await failure(link.open({ target: "without" }))).toMatch(/^target-(?:tls|reset): /);
      // Key and certificate are never replaced in the same instant: half a change must harm nobody.
      writeFileSync(key, second.key);
      writeFileSync(certificate, second.cert);
      await until("the new certificate", async () => (await link.open({ target: "with" }).text()) === "connector-2");
    });
  });

  describe("a request", () => {
    test("names the host that the target wants", async () => {
      const url = await site.target(echoHead);
      const link = await connected(
        web("own", url),
        web("preserve", url, 5000, { host: "preserve" }),
        web("named", url, 5000, { host: "erp.example:8443" }),
      );
      const headers: [string, string][] = [["X-Forwarded-Host", "erp--acme.example.com"]];
      const hosts = async (target: string) => valueOf((await seen(link.open({ target, headers }))).fields, "host");
      expect(await hosts("own")).toEqual([new URL(url).host]);
      expect(await hosts("preserve")).toEqual(["erp--acme.example.com"]);
      expect(await hosts("named")).toEqual(["erp.example:8443"]);
    });

    test("and its answer follow the target's rules for fields", async () => {
      const url = await site.target((request, response) => {
        response.setHeader("X-Powered-By", "secret");
        response.setHeader("Set-Cookie", ["a=1", "b=2"]);
        echoHead(request, response);
      });
      const password = file("password", "plant:s3cret:colon\n");
      const link = await connected(
        web("ruled", url, 5000, {
          requestHeaders: { set: { "X-Site": "plant-1" }, add: { "X-Tag": ["a", "b"] }, remove: ["Cookie"] },
          responseHeaders: { set: { "Cache-Control": "no-store" }, remove: ["x-powered-by"] },
          basicAuth: password,
        }),
      );
      const exchange = link.open({
        target: "ruled",
        headers: [
          ["x-site", "forged"],
          ["cookie", "a=1"],
          ["authorization", "Bearer visitor"],
          ["x-tag", "0"],
          ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        ],
      });
      const head = await exchange.head;
      const { fields } = await seen(exchange);
      expect(valueOf(fields, "x-site")).toEqual(["plant-1"]);
      expect(valueOf(fields, "x-tag")).toEqual(["0", "a", "b"]);
      expect(valueOf(fields, "cookie")).toEqual([]);
      expect(valueOf(fields, "traceparent")).toHaveLength(1);
      expect(valueOf(fields, "authorization")).toEqual([
        `Basic ${Buffer.from("plant:s3cret:colon").toString("base64")}`,
      ]);
      expect(headerOf(head, "x-powered-by")).toBeUndefined();
      expect(headerOf(head, "cache-control")).toBe("no-store");
      expect(head.headers.filter(([name]) => name.toLowerCase() === "set-cookie")).toHaveLength(2);
      expect(site.log.join("\n")).not.toContain("s3cret");
    });

    test("loses a prefix, of which the target is told", async () => {
      const url = `${await site.target(echoHead)}/web`;
      const link = await connected(web("cut", url, 5000, { stripPrefix: "/app" }));
      const at = async (path: string) =>
        await seen(link.open({ target: "cut", path, headers: [["X-Forwarded-Prefix", "/t"]] }));
      const cut = await at("/app/x%2Fy/../z?q=/app/");
      expect(cut.url).toBe("/web/x%2Fy/../z?q=/app/");
      expect(valueOf(cut.fields, "x-forwarded-prefix")).toEqual(["/t/app"]);
      expect((await at("/application")).url).toBe("/web/application");
    });

    test("that changes something does not reach what may only be read", async () => {
      const methods: string[] = [];
      const url = await site.target((request, response) => {
        methods.push(`${request.method} ${String(request.headers["x-http-method-override"] ?? "")}`);
        response.end();
      });
      const link = await connected(web("fixed", url, 5000, { readOnly: true }));
      const post = link.open({ target: "fixed", method: "POST", body: Buffer.alloc(200_000) });
      const head = await post.head;
      expect([head.status, headerOf(head, "allow")]).toEqual([405, "GET, HEAD, OPTIONS"]);
      expect(await post.outcome).toEqual({ kind: "finished" });
      for (const method of ["PUT", "PATCH", "DELETE", "MKCOL"])
        expect((await link.open({ target: "fixed", method }).head).status).toBe(405);
      expect((await link.open({ target: "fixed", upgrade: "websocket" }).head).status).toBe(405);
      const get = link.open({ target: "fixed", headers: [["X-HTTP-Method-Override", "DELETE"]] });
      expect((await get.head).status).toBe(200);
      expect(methods).toEqual(["GET "]);
    });

    test("above maxConcurrent is refused before it starts, and room comes back", async () => {
      const waiting: ServerResponse[] = [];
      const url = await site.target((_request, response) => void waiting.push(response));
      const link = await connected(web("narrow", url, 5000, { maxConcurrent: 2 }), web("other", url));
      const open = [link.open({ target: "narrow" }), link.open({ target: "narrow" })];
      await until("two to be there", () => waiting.length === 2);
      expect(await failure(link.open({ target: "narrow" }))).toMatch(/^refused-before-start: .*maxConcurrent/);
      const other = link.open({ target: "other" });
      await until("another target's", () => waiting.length === 3);
      for (const response of waiting) response.end("done");
      expect(await Promise.all([...open, other].map((exchange) => exchange.text()))).toEqual(["done", "done", "done"]);
      const again = link.open({ target: "narrow" });
      await until("the next one", () => waiting.length === 4);
      waiting[3]?.end("more");
      expect(await again.text()).toBe("more");
    });

    test("for a WebSocket follows the same rules", async () => {
      const upgrades: IncomingMessage[] = [];
      const url = await site.target(echoHead, (server) => {
        const sockets = new WebSocketServer({ server });
        sockets.on("connection", (socket, request) => {
          upgrades.push(request);
          socket.on("message", (data) => socket.send(data));
        });
      });
      const link = await connected(
        web("live", `${url}/web`, 5000, {
          host: "preserve",
          stripPrefix: "/app",
          requestHeaders: { set: { Origin: "https://erp.example" }, remove: ["Cookie"] },
          responseHeaders: { set: { "X-Via": "plant-1" } },
          basicAuth: file("ws-password", "plant:other"),
        }),
      );
      const exchange = link.open({
        target: "live",
        path: "/app/ws?x=%2F",
        upgrade: "websocket",
        headers: [
          ["X-Forwarded-Host", "erp--acme.example.com"],
          ["Cookie", "a=1"],
          ["Origin", "https://erp--acme.example.com"],
        ],
      });
      const head = await exchange.head;
      expect([head.status, headerOf(head, "x-via")]).toEqual([101, "plant-1"]);
      exchange.stream.sendMessage("text", Buffer.from("hello"));
      await until("the echo", () => exchange.messages.length === 1);
      const [request] = upgrades;
      expect(request?.url).toBe("/web/ws?x=%2F");
      expect(request?.headers).toMatchObject({
        host: "erp--acme.example.com",
        origin: "https://erp.example",
        authorization: `Basic ${Buffer.from("plant:other").toString("base64")}`,
        "x-forwarded-prefix": "/app",
      });
      expect(request?.headers.cookie).toBeUndefined();
      exchange.stream.sendMessageClose(1000, "");
      expect(await exchange.outcome).toEqual({ kind: "finished" });
    });

    test("for a name that nobody has goes to the catch-all", async () => {
      const url = await site.target((_request, response) => void response.end("anything"));
      const link = await connected(web("*", url), { kind: "ping", name: "ping" });
      expect(link.peer.targets).toContain("*");
      expect(await link.open({ target: "whatever" }).text()).toBe("anything");
      expect(await link.open({ target: "ping" }).text()).toBe("PONG\n");
    });
  });

  describe("redirects", () => {
    const bodies: string[] = [];
    const redirects: RequestListener = (request, response) => {
      const [, status = "", rest = ""] = /^\/to\/([0-9]+)(\/.*)$/.exec(request.url ?? "") ?? [];
      if (status !== "") {
        request.resume();
        const host = request.headers.host ?? "";
        const to =
          rest === "/away" ? "http://elsewhere.example/" : rest === "/loop" ? "/to/302/loop" : `http://${host}${rest}`;
        response
          .writeHead(Number(status), { location: to, "content-type": "text/plain" })
          .end(rest === "/end?long" ? "moved".repeat(100_000) : "moved");
        return;
      }
      let body = "";
      request.on("data", (data: Buffer) => (body += data.toString()));
      request.on("end", () => {
        bodies.push(body);
        echoHead(request, response);
      });
    };

    test("within the target are followed where that is safe, else they go to the visitor", async () => {
      const url = await site.target(redirects);
      const link = await connected(
        web("follow", url, 5000, { followRedirects: true }),
        web("once", url, 5000, { followRedirects: 1 }),
      );
      const get = (path: string, target = "follow") => link.open({ target, path });
      expect((await seen(get("/to/301/to/308/end?x=1"))).url).toBe("/end?x=1");
      expect((await get("/to/302/loop").head).status).toBe(302);
      expect((await seen(get("/to/302/end?long"))).url).toBe("/end?long");
      const away = await get("/to/302/away").head;
      expect([away.status, headerOf(away, "location")]).toEqual([302, "http://elsewhere.example/"]);
      expect((await get("/to/302/to/302/end", "once").head).status).toBe(302);
      const head = link.open({ target: "follow", path: "/to/303/end", method: "HEAD" });
      expect((await head.head).status).toBe(200);

      const post = (path: string) =>
        link.open({
          target: "follow",
          path,
          method: "POST",
          headers: [["content-type", "a/b"]],
          body: Buffer.from("small"),
        });
      const toGet = await seen(post("/to/303/end"));
      expect([toGet.method, bodies.at(-1), valueOf(toGet.fields, "content-type")]).toEqual(["GET", "", []]);
      const again = await seen(post("/to/307/end"));
      expect([again.method, bodies.at(-1), valueOf(again.fields, "content-type")]).toEqual(["POST", "small", ["a/b"]]);
      const streamed = function* () {
        for (let i = 0; i < 40; i++) yield Buffer.alloc(64 * 1024);
      };
      const long = link.open({ target: "follow", path: "/to/307/end", method: "POST", body: streamed() });
      expect((await long.head).status).toBe(307);
    });

    test("that are not followed come out at the visitor's host, with cookies that hold there", async () => {
      const url = await site.target((request, response) => {
        response.setHeader("Set-Cookie", ["a=1; Domain=127.0.0.1; Path=/", "b=2; Domain=other.example"]);
        response.writeHead(302, { location: `http://${request.headers.host}/web/login?a=%2F` }).end();
      });
      const link = await connected(
        web("base", `${url}/web`),
        web("as-is", `${url}/web`, 5000, { rewriteLocations: false }),
      );
      const headers: [string, string][] = [
        ["X-Forwarded-Proto", "https"],
        ["X-Forwarded-Host", "acme.example.com"],
        ["X-Forwarded-Prefix", "/plant"],
      ];
      const head = await link.open({ target: "base", headers }).head;
      expect(headerOf(head, "location")).toBe("https://acme.example.com/plant/login?a=%2F");
      expect(head.headers.filter(([name]) => name.toLowerCase() === "set-cookie").map(([, value]) => value)).toEqual([
        "a=1; Path=/",
        "b=2; Domain=other.example",
      ]);
      const kept = await link.open({ target: "as-is", headers }).head;
      expect(headerOf(kept, "location")).toBe(`${url}/web/login?a=%2F`);
    });
  });

  describe("health", () => {
    test("is asked for, told to the relay when it changes, and ends with its target", async () => {
      let status = 200;
      let asked = 0;
      const url = await site.target((request, response) => {
        if (request.url === "/up") {
          asked += 1;
          response.writeHead(status).end("body");
        } else response.end("page");
      });
      const gone = createTcpServer();
      const port = await listenOnLoopback(gone);
      await new Promise((resolve) => gone.close(resolve));
      const quick = { interval: 0.05, timeout: 1, unhealthyAfter: 2, healthyAfter: 2 };
      const targets = [
        web("page", url, 5000, { health: { path: "/up", status: "200-299", ...quick } }),
        web("dead", `http://127.0.0.1:${port}`, 5000, { health: quick }),
        web("unasked", `http://127.0.0.1:${port}`),
      ];
      const instanceId = `${originClient}-health`;
      const connector = site.connector({ relay: relay.url, lanes: ["a"], instanceId, originClient, targets });
      const link = await relay.link("a", { instanceId });
      await until("the dead one to be known", () => connector.unhealthy.join() === "dead");
      await until("the page to be asked", () => asked > 2);
      await until("the relay to know", () => link.reports.at(-1)?.unhealthy.join() === "dead");
      status = 503;
      await until("the page to be unwell", () => link.reports.at(-1)?.unhealthy.includes("page") === true);
      expect(await link.open({ target: "page", path: "/still" }).text()).toBe("page"); // the relay decides
      status = 204;
      await until("the page to be well", () => link.reports.at(-1)?.unhealthy.join() === "dead");
      connector.stop();
      const last = asked;
      await connector.done;
      await until("nothing more to be asked", () => asked - last <= 1);
    });
  });

  describe("hygiene", () => {
    const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const onHead = (say: string) => (received: string, socket: Socket) => {
      if (received.includes("\r\n\r\n")) socket.end(say);
    };

    test("paths arrive byte for byte", async () => {
      const { url, received } = await raw(onHead(ok.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")));
      const link = await connected(web("raw", url));
      const paths = [
        "//evil.example/x",
        "/a/../../b",
        "/%2e%2e/%2F",
        "/http://evil.example/",
        "/x?y=../%00&z=\\",
        "/;p=1",
      ];
      for (const path of paths) {
        expect(await link.open({ target: "raw", path }).text()).toBe("ok");
        expect(received.at(-1)?.split("\r\n")[0]).toBe(`GET ${path} HTTP/1.1`);
      }
    });

    test("no value, name, method or path splits a request", async () => {
      const { url, received } = await raw(onHead(ok));
      const link = await connected(web("raw", url));
      const wrong: Partial<Parameters<RelayLink["open"]>[0]>[] = [
        { headers: [["x-a", "b\r\nX-Evil: 1"]] },
        { headers: [["x-a", "b\nX-Evil: 1"]] },
        { headers: [["x-a", "b\0"]] },
        { headers: [["x-a: 1\r\nx-evil", "1"]] },
        { headers: [["x a", "1"]] },
      ];
      for (const request of wrong) {
        let said: string;
        try {
          said = await failure(link.open({ target: "raw", ...request }));
        } catch (error) {
          said = String(error); // the session itself refuses to carry it
        }
        expect(said).toMatch(/^protocol: |not-sendable/);
      }
      expect(received.join("")).not.toMatch(/evil/i);
      expect(await link.open({ target: "raw" }).text()).toBe("ok");
    });

    test.each([
      ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok"],
      [
        "length and chunks",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
      ],
      ["no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
      ["nothing", ""],
      ["half a head", "HTTP/1.1 200 OK\r\ncontent-"],
      ["a NUL in a value", "HTTP/1.1 200 OK\r\nx-a: \0\r\ncontent-length: 2\r\n\r\nok"],
    ])("an answer with %s is refused", async (_what, say) => {
      const { url } = await raw(onHead(say));
      const link = await connected(web("raw", url));
      expect(await failure(link.open({ target: "raw" }))).toMatch(/^target-reset: target "raw": /);
    });

    test("a request that may have been done is not sent twice", async () => {
      const posts: string[] = [];
      const { url, received } = await raw((text, socket) => {
        if (text.includes("POST ")) {
          posts.push(text);
          socket.destroy();
        } else socket.write(ok);
      });
      const link = await connected(web("raw", url));
      expect(await link.open({ target: "raw" }).text()).toBe("ok"); // now a connection is kept
      const post = link.open({ target: "raw", method: "POST", body: Buffer.from("pay") });
      expect(await failure(post)).toMatch(/^target-reset: .*without an answer/);
      expect(posts).toHaveLength(1);
      expect(received.join("").match(/POST /g)).toHaveLength(1);
    });

    test("hints come before an answer; Expect never reaches the target", async () => {
      // undici takes a 100 that nobody asked for as an error.
      const unasked = originClient === "llhttp" ? "HTTP/1.1 100 Continue\r\n\r\n" : "";
      const { url, received } = await raw(
        onHead("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x\r\n\r\n" + unasked + ok),
      );
      const link = await connected(web("raw", url));
      const exchange = link.open({
        target: "raw",
        headers: [
          ["Expect", "100-continue"],
          ["TE", "trailers"],
        ],
      });
      expect(await exchange.text()).toBe("ok");
      const hints: ResponseHead[] = exchange.interim.filter(({ status }) => status === 103);
      expect(hints.map(({ headers }) => headers)).toEqual([[["link", "</a.css>"]]]);
      expect(received.join("")).not.toMatch(/expect|trailers/i);
    });

    if (originClient === "llhttp")
      test("a body's trailers reach the target", async () => {
        const url = await site.target((request: IncomingMessage, response) => {
          request.resume().once("end", () => response.end(JSON.stringify(request.rawTrailers)));
        });
        const link = await connected(web("trailed", url));
        const exchange = link.open({ target: "trailed", method: "POST", end: false });
        exchange.stream.write(Buffer.from("body"));
        exchange.stream.end([["x-sum", "42"]]);
        expect(JSON.parse(await exchange.text())).toEqual(["x-sum", "42"]);
      });
  });

  describe("time", () => {
    test("an answer that stands still is given up when the target says so", async () => {
      const url = await site.target((_request, response) => void response.write("x"));
      const link = await connected(web("still", url, 5000, { idleTimeout: 0.3 }));
      expect(await failure(link.open({ target: "still" }))).toMatch(/^target-timeout: .*stood still/);
    });

    test("nothing is started after the request's deadline, however slow the connection", async () => {
      const { url, received } = await raw(() => undefined); // takes connections, never shakes hands
      const secured = url.replace("http:", "https:");
      const link = await connected(web("hole", secured), web("short", secured, 5000, { connectTimeout: 0.3 }));
      const expired = link.open({ target: "hole", method: "POST", body: Buffer.from("pay"), deadlineMs: 200 });
      expect(await failure(expired)).toMatch(/^deadline-exceeded: /);
      expect(await failure(link.open({ target: "short" }))).toMatch(/^target-timeout: .*no connection in time/);
      expect(received.join("")).not.toContain("pay");
    });

    test("a small answer is one message of the carrier", async () => {
      const url = await site.target((_request, response) => void response.end("small"));
      const link = await connected(web("small", url));
      await link.open({ target: "small" }).text();
      let messages = 0;
      link.socket.on("message", () => (messages += 1));
      expect(await link.open({ target: "small" }).text()).toBe("small");
      expect(messages).toBe(1);
    });
  });

  test("nothing of a password or key is in the log", () => {
    const log = site.log.join("\n");
    for (const secret of ["s3cret", "PRIVATE KEY"]) expect(log).not.toContain(secret);
    expect(readFileSync(join(site.folder, `${originClient}-client.key`), "utf8")).toContain("PRIVATE KEY");
  });
});
