import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";
import { blobBlock, blobSha256, BLOB_BLOCK_BYTES, sendJson, sendSlowly, takeUpload } from "../shared/streams.ts";
import { sendReadings } from "./readings.ts";

/**
 * The demo target: a web app as it stands at a customer's site, for people to look at and for tests to measure with. Pages, server-sent
 * events at /sse, WebSocket echo at /ws, /blob?mb=N, POST /upload, /slow?ms=N, /headers, /cookies, /status/N, /hints (103), /trailers.
 * `PORT` or --port; 127.0.0.1 only.
 */
const { values } = parseArgs({ options: { port: { type: "string" }, host: { type: "string" } } });
const port = Number.parseInt(values.port ?? process.env["PORT"] ?? "", 10);
if (!Number.isInteger(port)) {
  console.error("demo-target: say which port, by PORT or --port");
  process.exit(2);
}
// Containers are reached from outside of themselves.
const host = values.host ?? process.env["HOST"] ?? "127.0.0.1";

const file = (name: string) => readFileSync(new URL(`public/${name}`, import.meta.url));
const PAGES: Readonly<Record<string, { type: string; content: Buffer }>> = {
  "/": { type: "text/html; charset=utf-8", content: file("index.html") },
  "/style.css": { type: "text/css; charset=utf-8", content: file("style.css") },
  "/page.js": { type: "text/javascript; charset=utf-8", content: file("page.js") },
  "/icon.svg": { type: "image/svg+xml", content: file("icon.svg") },
};

const MAX_BLOB_MIB = 16 * 1024;
/** Above this the hash would cost too long before the first byte: it comes as a trailer then. */
const HASH_FIRST_MIB = 64;
/** At most one for each size up to that. */
const hashes = new Map<number, string>();

function knownSha256(mebibytes: number): string {
  const known = hashes.get(mebibytes) ?? blobSha256(mebibytes);
  hashes.set(mebibytes, known);
  return known;
}

type Handler = (url: URL, request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

const HANDLERS: Readonly<Record<string, Handler>> = {
  "/sse": (url, _request, response) => sendReadings(url, response),
  "/blob": (url, _request, response) => sendBlob(url, response),
  "/upload": (_url, request, response) =>
    request.method === "POST" ? takeUpload(request, response) : sendJson(response, 405, { error: "POST a body" }),
  "/slow": (url, _request, response) => sendSlowly(url, response),
  "/headers": (_url, request, response) => sendWhatCame(request, response),
  "/cookies": (_url, _request, response) => {
    response.setHeader("set-cookie", ["plant=1; Path=/; HttpOnly", "line=b; Path=/; SameSite=Lax"]);
    sendJson(response, 200, { set: ["plant", "line"] });
  },
  "/hints": (_url, _request, response) => {
    response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
    sendJson(response, 200, { hinted: true });
  },
  "/trailers": (_url, _request, response) => {
    response.writeHead(200, { "content-type": "text/plain", trailer: "x-sum" });
    response.write("body");
    response.addTrailers({ "x-sum": createHash("sha256").update("body").digest("hex") });
    response.end();
  },
  "/healthz": (_url, _request, response) => sendJson(response, 200, { status: "ok" }),
};

function answer(request: IncomingMessage, response: ServerResponse): Promise<void> | void {
  const url = new URL(`http://target.invalid${request.url?.startsWith("/") === true ? request.url : "/"}`);
  const page = PAGES[url.pathname];
  if (page !== undefined) return sendPage(page, request, response);
  const handler = HANDLERS[url.pathname];
  if (handler !== undefined) return handler(url, request, response);
  const [, status] = /^\/status\/([2-5][0-9]{2})$/.exec(url.pathname) ?? [];
  if (status !== undefined) return sendJson(response, Number(status), { status: Number(status) });
  return sendJson(response, 404, { error: "no such page", path: request.url });
}

function sendPage(page: { type: string; content: Buffer }, request: IncomingMessage, response: ServerResponse): void {
  const isHtml = page.type.startsWith("text/html");
  const content = isHtml ? basedOn(request.headers["x-forwarded-prefix"], page.content) : page.content;
  const tag = `"${createHash("sha256").update(content).digest("base64url").slice(0, 16)}"`;
  const headers = { "content-type": page.type, "cache-control": "no-cache", etag: tag };
  if (request.headers["if-none-match"] === tag) {
    response.writeHead(304, headers).end();
    return;
  }
  response.writeHead(200, { ...headers, "content-length": content.length });
  response.end(content);
}

/** The page's addresses start at the prefix that the edge cut off, if it stands behind a path route. */
function basedOn(prefix: string | string[] | undefined, content: Buffer): Buffer {
  if (typeof prefix !== "string" || !/^(?:\/[\w.~%-]+)+$/.test(prefix)) return content;
  return Buffer.from(content.toString("utf8").replace('<base href="/" />', `<base href="${prefix}/" />`));
}

/** Everything that reached this side, as it came: raw names, order and duplicates. */
function sendWhatCame(request: IncomingMessage, response: ServerResponse): void {
  const { method, url: path, rawHeaders } = request;
  const headers: [string, string][] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) headers.push([rawHeaders[i] ?? "", rawHeaders[i + 1] ?? ""]);
  request.resume();
  sendJson(response, 200, { method, path, headers });
}

/** `?mb=N` MiB (default 1) as fast as the reader takes them. SHA-256 in the header `x-content-sha256`, for big ones as a trailer. */
async function sendBlob(url: URL, response: ServerResponse): Promise<void> {
  const mebibytes = Math.min(Math.max(Number.parseInt(url.searchParams.get("mb") ?? "1", 10) || 0, 0), MAX_BLOB_MIB);
  const blocks = (mebibytes * 1024 * 1024) / BLOB_BLOCK_BYTES;
  const small = mebibytes <= HASH_FIRST_MIB;
  response.writeHead(200, {
    "content-type": "application/octet-stream",
    ...(small
      ? { "content-length": mebibytes * 1024 * 1024, "x-content-sha256": knownSha256(mebibytes) }
      : { trailer: "x-content-sha256" }),
  });
  const hash = small ? null : createHash("sha256");
  for (let index = 0; index < blocks && !response.destroyed; index++) {
    const block = blobBlock(index);
    hash?.update(block);
    if (!response.write(block)) await roomOrGone(response);
  }
  if (hash !== null) response.addTrailers({ "x-content-sha256": hash.digest("hex") });
  response.end();
}

function roomOrGone(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}

const server = createServer((request, response) => {
  Promise.resolve(answer(request, response)).catch(() => response.destroy());
});
server.requestTimeout = 0; // uploads take as long as they take

const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 * 1024 });
server.on("upgrade", (request, socket, head) => {
  if (!/^\/ws(?:\?|$)/.test(request.url ?? "")) {
    socket.end("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, socket, head, (webSocket) => {
    webSocket.on("message", (data, binary) => webSocket.send(data, { binary }));
    webSocket.on("error", () => webSocket.terminate());
  });
});

server.listen(port, host, () => {
  const address = server.address();
  console.log(`demo-target: on port ${typeof address === "object" ? address?.port : port}`);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    for (const webSocket of sockets.clients) webSocket.close(1001, "the target stops");
    server.close(() => process.exit(0));
    server.closeIdleConnections();
    setTimeout(() => process.exit(0), 2_000).unref();
  });
}
