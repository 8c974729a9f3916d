/**
 * The origin: plays the tenant's service and the on-premises target. Prints its port on the first line of standard output. Every path
 * answers the same 128 bytes, except:
 *
 * - GET /blob?mb=N   N MiB with a Content-Length
 * - POST /upload     takes everything, answers the number of bytes
 * - GET /received    bytes that all uploads together have brought so far
 * - GET /sse         an event every 20 ms, its data the microseconds since the epoch
 * - WebSocket /ws    echo
 */
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { epochMicros } from "../load/clock.ts";

const BODY = Buffer.alloc(128, "x");
const MIB = Buffer.alloc(1 << 20, "b");
const EVENT_MS = 20;

let received = 0;

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://origin");
  if (pathname === "/blob") {
    let left = Number(searchParams.get("mb") ?? 1);
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": left * MIB.length });
    const more = (): void => {
      while (left > 0) {
        left -= 1;
        if (!response.write(MIB)) return void response.once("drain", more);
      }
      response.end();
    };
    return more();
  }
  if (pathname === "/upload") {
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      received += chunk.length;
    });
    request.on("end", () => response.end(String(bytes)));
    return;
  }
  request.resume();
  if (pathname === "/received") return void response.end(String(received));
  if (pathname === "/sse") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    const timer = setInterval(() => response.write(`data: ${epochMicros()}\n\n`), EVENT_MS);
    return void response.on("close", () => clearInterval(timer));
  }
  response.writeHead(200, { "content-type": "text/plain", "content-length": BODY.length });
  response.end(BODY);
});
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
server.on("upgrade", (request, socket, head) =>
  sockets.handleUpgrade(request, socket, head, (ws) =>
    ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary })),
  ),
);
// Connections are kept by whoever measures; a server that closes idle ones would show up as failed requests.
server.keepAliveTimeout = 600_000;
server.requestTimeout = 0;
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object" && address !== null) process.stdout.write(`${address.port}\n`);
});
