import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HeaderList } from "../../src/protocol/tunnel/session.ts";
import { until } from "../support/until.ts";
import type { Exchange } from "./connector/exchange.ts";
import { startTestRelay, type RelayLink, type TestRelay } from "./connector/relay.ts";
import { createSite, web, type Site } from "./connector/site.ts";

// Applications that let only their own pages in tell them by Origin, and know their own address by Host (notebooks, data apps: everything on
// Tornado or gorilla/websocket) or by X-Forwarded-Host (code-server). A visitor's page is the application's own, whatever stands in between.

let relay: TestRelay;
let site: Site;
beforeAll(async () => {
  relay = await startTestRelay();
  site = createSite();
});
afterAll(async () => {
  await site.close();
  await relay.stop();
});

const VISITOR = "nb--acme.example.com";
const asVisitor = (origin: string): HeaderList => [
  ["X-Forwarded-Host", VISITOR],
  ["X-Forwarded-Proto", "https"],
  ["Origin", origin],
];

/** An application that takes WebSockets only from pages of what it believes to be its own host. */
async function picky(own: (request: IncomingMessage) => string | undefined): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const url = await site.target(
    (request, response) => void response.end(`${request.headers.origin} ${request.headers.host}`),
    (server: Server) => {
      const sockets = new WebSocketServer({ noServer: true });
      server.on("upgrade", (request, socket, head) => {
        const { origin = "" } = request.headers;
        asked.push(origin);
        if (new URL(origin).host !== own(request)) {
          socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\nConnection: close\r\n\r\nother origin");
          return;
        }
        sockets.handleUpgrade(request, socket, head, (live) => live.on("message", (data) => live.send(data)));
      });
    },
  );
  return { url, asked };
}

async function connected(...targets: Parameters<Site["connector"]>[0]["targets"]): Promise<RelayLink> {
  const instanceId = `i-${targets.map(({ name }) => name).join("-")}`;
  site.connector({ relay: relay.url, lanes: ["a"], instanceId, targets });
  return await relay.link("a", { instanceId });
}

const openSocket = (link: RelayLink, target: string, origin = `https://${VISITOR}`): Exchange =>
  link.open({ target, path: "/ws", upgrade: "websocket", headers: asVisitor(origin) });

test("an application that compares Origin with Host takes the WebSockets of its own pages, without a setting", async () => {
  const { url, asked } = await picky((request) => request.headers.host);
  const link = await connected(web("notebook", url));
  const first = openSocket(link, "notebook");
  expect((await first.head).status).toBe(101);
  first.stream.sendMessage("text", Buffer.from("run the cell"));
  await until("the echo", () => first.messages.length === 1);
  first.stream.sendMessageClose(1000, "");
  expect(await first.outcome).toEqual({ kind: "finished" });
  // What it takes is known now: the next one is not refused first.
  expect((await openSocket(link, "notebook").head).status).toBe(101);
  expect(asked).toEqual([`https://${VISITOR}`, url, url]);
});

test("an application that knows X-Forwarded-Host gets the visitor's Origin", async () => {
  const { url, asked } = await picky((request) => String(request.headers["x-forwarded-host"]));
  const link = await connected(web("editor", url));
  expect((await openSocket(link, "editor").head).status).toBe(101);
  expect(asked).toEqual([`https://${VISITOR}`]);
});

test("pages of another host stay refused, and are asked for once", async () => {
  const { url, asked } = await picky((request) => request.headers.host);
  const link = await connected(web("guarded", url), web("always", url, 5000, { origin: "target" }));
  for (const target of ["guarded", "always"]) {
    const exchange = openSocket(link, target, "https://evil.example");
    expect((await exchange.head).status).toBe(403);
    expect(await exchange.text()).toBe("other origin");
  }
  expect(asked).toEqual(["https://evil.example", "https://evil.example"]);
});

test("what refuses its own pages as well answers with its own words", async () => {
  const { url, asked } = await picky(() => "nowhere.example");
  const link = await connected(web("closed", url), web("kept", url, 5000, { origin: "preserve" }));
  const exchange = openSocket(link, "closed");
  expect((await exchange.head).status).toBe(403);
  expect(await exchange.text()).toBe("other origin");
  expect(asked).toEqual([`https://${VISITOR}`, url]);
  expect((await openSocket(link, "kept").head).status).toBe(403);
  expect(asked).toHaveLength(3);
});

test("origin: target gives every request of the visitor's pages the target's own Origin, preserve and auto none", async () => {
  const { url } = await picky(() => "");
  const { host } = new URL(url);
  const link = await connected(
    web("own", url, 5000, { origin: "target" }),
    web("named", url, 5000, { origin: "target", host: "erp.example" }),
    web("auto", url),
  );
  const seen = async (target: string, origin: string): Promise<string> =>
    await link.open({ target, method: "POST", headers: asVisitor(origin) }).text();
  expect(await seen("own", `https://${VISITOR}`)).toBe(`${url} ${host}`);
  expect(await seen("own", "https://evil.example")).toBe(`https://evil.example ${host}`);
  expect(await seen("own", "null")).toBe(`null ${host}`);
  expect(await seen("named", `https://${VISITOR}`)).toBe("http://erp.example erp.example");
  expect(await seen("auto", `https://${VISITOR}`)).toBe(`https://${VISITOR} ${host}`);
});

test("the connection that a refused WebSocket was asked for over does not stay open", async () => {
  const open = new Set<Duplex>();
  const url = await site.target(
    (_request, response) => void response.end(),
    (server: Server) =>
      server.on("upgrade", (_request, socket) => {
        open.add(socket);
        socket.on("error", () => undefined);
        socket.on("end", () => open.delete(socket)); // our server may stay half open
        socket.resume();
        // As servers do that keep connections: nothing says that it would end.
        socket.write("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone");
      }),
  );
  const link = await connected(web("nowhere", url));
  const exchange = openSocket(link, "nowhere");
  expect([(await exchange.head).status, await exchange.text()]).toEqual([404, "none"]);
  await until("the connection to be closed", () => open.size === 0);
});
