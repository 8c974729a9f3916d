/**
 * The origin: a process that answers every request with the same 128 bytes. It plays the tenant's service and the on-premises target.
 * Prints its port on the first line of standard output.
 */
import { createServer } from "node:http";

const BODY = Buffer.alloc(128, "x");

const server = createServer((request, response) => {
  request.resume();
  response.writeHead(200, { "content-type": "text/plain", "content-length": BODY.length });
  response.end(BODY);
});
// Connections are kept by whoever measures; a server that closes idle ones would show up as failed requests.
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object" && address !== null) process.stdout.write(`${address.port}\n`);
});
