import { createServer } from "node:http";
import type { Challenges } from "./challenges.ts";

const PREFIX = "/.well-known/acme-challenge/";

/** Answers at port 80 of the node's names, only while a certificate is being ordered. */
export async function openHttp01(address: string, port: number): Promise<Challenges> {
  const files = new Map<string, string>();
  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    const content = path.startsWith(PREFIX) ? files.get(path.slice(PREFIX.length)) : undefined;
    response.writeHead(content === undefined ? 404 : 200, { "content-type": "text/plain", connection: "close" });
    response.end(content ?? "Not found\n");
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, resolve);
  });
  return {
    type: "http-01",
    show: async (_name, token, value) => void files.set(token, value),
    remove: async (_name, token) => void files.delete(token),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
