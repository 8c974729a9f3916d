import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { WebSocketServer } from "ws";
import { openDatabase } from "./database.ts";
import { sendBlob, sendEvents, sendJson, sendSlowly, takeUpload } from "../shared/streams.ts";

/**
 * A tenant's service in the local stack: says who it is and what it got (`{ service, tenant, node, host, path, proto, headers }`), echoes
 * WebSockets at `<prefix>/ws`, asks the tenant's database at `<prefix>/database`, and streams. Everything about it comes from the environment that the node agent gives to services.
 */
const env = (name: string): string => process.env[name] ?? "";
const port = Number.parseInt(env("PORT"), 10);
if (!Number.isInteger(port)) {
  console.error("demo-service: PORT is not set");
  process.exit(2);
}
const database = openDatabase(env("CAUSEWAY_SECRETS_DIR"));
const who = { service: env("CAUSEWAY_SERVICE"), tenant: env("CAUSEWAY_TENANT"), node: env("CAUSEWAY_NODE") };

function answer(request: IncomingMessage, response: ServerResponse): Promise<void> | void {
  const url = new URL(request.url ?? "/", "http://service.invalid");
  const last = url.pathname.split("/").at(-1);
  if (url.pathname === "/healthz") return sendJson(response, 200, { status: "ok" });
  if (last === "blob") return sendBlob(url, response);
  if (last === "upload" && request.method === "POST") return takeUpload(request, response);
  if (last === "database") return database.answer(response);
  if (last === "sse") return sendEvents(url, response);
  if (last === "slow") return sendSlowly(url, response);
  const { headers } = request;
  const proto = headers["x-forwarded-proto"] ?? "http";
  return sendJson(response, 200, { ...who, host: headers.host, path: request.url, proto, headers });
}

const server = createServer((request, response) => {
  Promise.resolve(answer(request, response)).catch((error: unknown) => {
    console.error(`demo-service: ${request.method} failed: ${error instanceof Error ? error.message : String(error)}`);
    response.destroy();
  });
});

const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 * 1024 });
server.on("upgrade", (request, socket, head) => {
  const { pathname } = new URL(request.url ?? "/", "http://service.invalid");
  if (!pathname.endsWith("/ws")) {
    socket.end("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, socket, head, (webSocket) => {
    webSocket.on("message", (data, binary) => webSocket.send(data, { binary }));
    // A client's error ends that client's socket; the service goes on.
    webSocket.on("error", () => webSocket.terminate());
  });
});

server.requestTimeout = 0;
server.listen(port, "127.0.0.1", () => console.log(`demo-service: ${JSON.stringify(who)} on port ${port}`));

process.on("SIGTERM", () => {
  for (const webSocket of sockets.clients) webSocket.close(1001, "service stops");
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
