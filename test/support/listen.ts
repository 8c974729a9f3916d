import type { Server, Socket } from "node:net";

/**
 * Listens on 127.0.0.1, on any free port by default; answers the port. A peer may reset any connection at any time, also one that an
 * HTTP server has handed over at an upgrade or a CONNECT and that nobody watches any more: that is no failure of the test.
 */
export async function listenOnLoopback(server: Server, port = 0): Promise<number> {
  const tolerate = (socket: Socket): void => void socket.on("error", () => socket.destroy());
  server.on("connection", tolerate);
  server.on("secureConnection", tolerate);
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      resolve(null);
    });
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP port");
  return address.port;
}
