import type { Server } from "node:net";

/** Listens on 127.0.0.1, on any free port by default; answers the port. */
export async function listenOnLoopback(server: Server, port = 0): Promise<number> {
  await new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(null)));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP port");
  return address.port;
}
