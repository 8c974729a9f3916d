import { createServer } from "node:http";
import { listenOnLoopback } from "../../support/listen.ts";

// A mail service in a process of its own: Miniflare's calls of a Worker block the test until they are answered.
let status = 202;
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (status < 300) process.send?.({ body, authorization: request.headers.authorization ?? "" });
    response.writeHead(status).end();
  });
});
process.on("message", (next: number) => {
  status = next;
  process.send?.({ status });
});
process.send?.({ port: await listenOnLoopback(server) });
