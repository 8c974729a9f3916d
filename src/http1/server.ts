import { createServer as createNetServer, type Server, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { createServer as createTlsServer } from "node:tls";
import { SERVER_LIMITS, SERVER_TIMEOUTS } from "./limits.ts";
import { type ConnectionContext, ServerConnection } from "./server-connection.ts";
import { createNodeServer } from "./node-server.ts";
import type { Http1Server, Http1ServerOptions } from "./server-types.ts";
import { sweepMs } from "./sweep.ts";

/** HTTP/1.1 on our own framing over llhttp (docs/adr: why), or on node:http: `engine`. */
export function createHttp1Server(options: Http1ServerOptions): Http1Server {
  return options.engine === "node" ? createNodeServer(options) : createLlhttpServer(options);
}

function createLlhttpServer(options: Http1ServerOptions): Http1Server {
  const limits = { ...SERVER_LIMITS, ...options.limits };
  const timeouts = { ...SERVER_TIMEOUTS, ...options.timeouts };
  const connections = new Set<ServerConnection>();
  let active = 0;
  let draining = false;

  const context: ConnectionContext = {
    options,
    limits,
    timeouts,
    now: () => performance.now(),
    draining: () => draining,
    opened: () => void (active += 1),
    closed: () => void (active -= 1),
    gone: (connection) => void connections.delete(connection),
  };
  const accept = (socket: Socket): void => {
    const connection = new ServerConnection(socket, context);
    const full = connections.size >= limits.connections;
    connections.add(connection);
    if (full) connection.refuseOverload();
    else if (draining) connection.drain();
  };
  const socketOptions = { allowHalfOpen: true, noDelay: true, highWaterMark: limits.unsentBytes };
  const server: Server =
    options.tls === undefined
      ? createNetServer(socketOptions, accept)
      : createTlsServer(
          { ...socketOptions, handshakeTimeout: timeouts.headMs, ...options.tls, ALPNProtocols: ["http/1.1"] },
          accept,
        );
  server.on("tlsClientError", (error: Error & { code?: string }, socket: Socket) => {
    options.log.debug("TLS handshake of a client failed", { code: error.code });
    socket.destroy();
  });
  // Under TLS these are the sockets below, also of those who never finish their handshake.
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  let sweeper: NodeJS.Timeout | null = null;

  return {
    listen: (port, host) =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen({ port, host, backlog: limits.acceptQueue }, () => {
          server.off("error", reject);
          server.on("error", (error) => options.log.error("the server's socket failed", { reason: error.message }));
          const { headMs, idleMs, bodyIdleMs } = timeouts;
          sweeper = setInterval(
            () => {
              const now = performance.now();
              for (const connection of connections) connection.sweep(now);
            },
            sweepMs(Math.min(headMs, idleMs, bodyIdleMs)),
          ).unref();
          const address = server.address();
          resolve({ port: typeof address === "object" && address !== null ? address.port : 0 });
        });
      }),
    close: (graceMs) =>
      new Promise((resolve) => {
        draining = true;
        const grace = setTimeout(() => {
          for (const connection of connections) connection.cut();
          for (const socket of sockets) socket.destroy();
        }, graceMs);
        server.close(() => {
          clearTimeout(grace);
          if (sweeper !== null) clearInterval(sweeper);
          resolve();
        });
        for (const connection of connections) connection.drain();
      }),
    get connections() {
      return connections.size;
    },
    get active() {
      return active;
    },
  };
}
