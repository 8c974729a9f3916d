import { createServer, type IncomingMessage, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import type { Duplex } from "node:stream";
import { SERVER_LIMITS, SERVER_TIMEOUTS } from "./limits.ts";
import { NodeExchange, pairs } from "./node-exchange.ts";
import { MALFORMED, REFUSALS } from "./refusals.ts";
import { refusalText } from "./refusal.ts";
import { checkRequest, type RefusalCause } from "./request-checks.ts";
import type { Http1Server, Http1ServerOptions } from "./server-types.ts";
import { sweepMs } from "./sweep.ts";

/** The same server on node:http, to switch back to. */
export function createNodeServer(options: Http1ServerOptions): Http1Server {
  const limits = { ...SERVER_LIMITS, ...options.limits };
  const timeouts = { ...SERVER_TIMEOUTS, ...options.timeouts };
  const sockets = new Set<Socket>();
  /** Of these, those that have left HTTP: they count no more, and end with the server. */
  const taken = new Set<Duplex>();
  const exchanges = new Map<Duplex, NodeExchange>();
  let active = 0;
  let draining = false;
  const grain = sweepMs(Math.min(timeouts.headMs, timeouts.idleMs, timeouts.bodyIdleMs));
  const host = {
    get keepAlive() {
      return !draining;
    },
    drainBytes: limits.drainBytes,
    bodyIdleMs: timeouts.bodyIdleMs,
    writeIdleMs: timeouts.writeIdleMs,
    now: () => performance.now(),
  };

  /** node:http goes on parsing what was pipelined behind a refused request: it is not looked at. */
  const refused = new WeakSet<Duplex>();

  const refuse = (socket: Duplex, cause: RefusalCause): void => {
    if (refused.has(socket)) return;
    refused.add(socket);
    if (!socket.writable) return void socket.destroy();
    const remoteAddress = socket instanceof Socket ? (socket.remoteAddress ?? null) : null;
    socket.end(refusalText({ ...cause, remoteAddress }, options.onRefused));
  };

  const start = (req: IncomingMessage, res: ServerResponse, rest: Buffer | null): void => {
    if (refused.has(req.socket)) return;
    const { method = "", url: target = "", rawHeaders } = req;
    const version = req.httpVersion === "1.1" ? "1.1" : "1.0";
    let cause: RefusalCause | null = null;
    if (req.httpVersionMajor !== 1 || req.httpVersionMinor > 1) cause = REFUSALS.version;
    else if (target.length > limits.targetBytes) cause = REFUSALS["target-too-long"];
    else if (rawHeaders.length / 2 > limits.fields) cause = REFUSALS["head-too-large"];
    const upgrade = rest !== null;
    const keepAlive = res.shouldKeepAlive;
    const checked = checkRequest({ method, target, version, headers: pairs(rawHeaders), keepAlive, upgrade });
    if (cause === null && !checked.ok) cause = checked.error;
    if (cause !== null || !checked.ok) return refuse(req.socket, cause ?? MALFORMED);
    active += 1;
    const exchange = new NodeExchange({ req, res, rest }, checked.value, host, (outcome) => {
      active -= 1;
      if (outcome.kind === "gone" && outcome.reason === "taken" && !req.socket.destroyed) {
        taken.add(req.socket);
        req.socket.once("close", () => taken.delete(req.socket));
      }
      if (exchanges.get(req.socket) === exchange) exchanges.delete(req.socket);
    });
    exchanges.set(req.socket, exchange);
    exchange.run(options.onRequest);
  };

  const serverOptions = {
    maxHeaderSize: limits.headBytes,
    headersTimeout: timeouts.headMs,
    requestTimeout: 0,
    keepAliveTimeout: timeouts.idleMs,
    connectionsCheckingInterval: grain,
    requireHostHeader: false, // request-checks.ts
    noDelay: true,
    highWaterMark: limits.unsentBytes,
  };
  const server =
    options.tls === undefined
      ? createServer(serverOptions)
      : createTlsServer({ ...serverOptions, handshakeTimeout: timeouts.headMs, ...options.tls });
  server.maxHeadersCount = 0; // counted above: node:http would leave out what is too many
  server.maxRequestsPerSocket = limits.requestsPerConnection;
  server.on("request", (req, res) => start(req, res, null));
  server.on("checkContinue", (req, res) => start(req, res, null));
  server.on("checkExpectation", (req, res) => start(req, res, null));
  server.on("connect", (_req, socket) => {
    watchErrors(socket);
    refuse(socket, REFUSALS.connect);
  });
  server.on("upgrade", (req: IncomingMessage, socket: Duplex, rest: Buffer) => {
    watchErrors(socket);
    if (!(socket instanceof Socket)) {
      socket.destroy();
      return;
    }
    const res = new ServerResponse(req);
    res.assignSocket(socket);
    res.shouldKeepAlive = false;
    const hungUp = () => {
      if (exchanges.has(socket)) socket.destroy();
    };
    socket.on("end", hungUp);
    res.on("finish", () => socket.end());
    start(req, res, rest);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Duplex) => {
    const exchange = exchanges.get(socket);
    const cause = causeOf(error.code ?? "");
    if (error.code === "ECONNRESET" || cause === null || !socket.writable) {
      if (exchange !== undefined) exchange.goneReason = "client-reset";
      return void socket.destroy();
    }
    if (exchange === undefined) return refuse(socket, cause);
    exchange.goneReason = "body-malformed";
    if (exchange.unanswered) {
      refuse(socket, cause);
      if (socket instanceof Socket) socket.destroySoon();
    } else exchange.cut("body-malformed");
  });
  server.on(options.tls === undefined ? "connection" : "secureConnection", (socket: Socket) => {
    if (sockets.size >= limits.connections) refuse(socket, REFUSALS.overloaded);
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("timeout", () => {
      const exchange = exchanges.get(socket);
      if (exchange !== undefined && exchange.unsentBytes > 0) exchange.goneReason = "write-timeout";
      if (exchange === undefined || exchange.unsentBytes > 0) socket.destroy();
    });
  });
  let sweeper: NodeJS.Timeout | null = null;

  return {
    listen: (port, hostname) =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen({ port, host: hostname, backlog: limits.acceptQueue }, () => {
          server.off("error", reject);
          server.on("error", (error) => options.log.error("the server's socket failed", { reason: error.message }));
          sweeper = setInterval(() => {
            const now = performance.now();
            for (const [socket, exchange] of exchanges) {
              if (exchange.deadlineMs === 0 || now < exchange.deadlineMs) continue;
              exchange.goneReason = "body-timeout";
              exchange.deadlineMs = 0;
              if (exchange.unanswered) {
                refuse(socket, REFUSALS.timeout);
                if (socket instanceof Socket) socket.destroySoon();
              } else exchange.cut("body-timeout");
            }
          }, grain).unref();
          const address = server.address();
          resolve({ port: typeof address === "object" && address !== null ? address.port : 0 });
        });
      }),
    close: (graceMs) =>
      new Promise((resolve) => {
        draining = true;
        const grace = setTimeout(() => {
          for (const exchange of exchanges.values()) exchange.abort();
          for (const socket of sockets) socket.destroy();
        }, graceMs);
        server.close(() => {
          clearTimeout(grace);
          if (sweeper !== null) clearInterval(sweeper);
          resolve();
        });
      }),
    get connections() {
      return sockets.size - taken.size;
    },
    get active() {
      return active;
    },
  };
}

/** node:http takes its own listeners from a socket that leaves HTTP: without one, a client's reset would end the process. "close" follows. */
function watchErrors(socket: Duplex): void {
  socket.on("error", () => undefined);
}

/** node:http's errors of a client. Null: nobody is there to be told. */
function causeOf(code: string): RefusalCause | null {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return REFUSALS["head-too-large"];
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return REFUSALS.timeout;
    case "HPE_INVALID_VERSION":
    case "HPE_PAUSED_H2_UPGRADE":
      return REFUSALS.version;
    case "HPE_UNEXPECTED_CONTENT_LENGTH":
    case "HPE_INVALID_CONTENT_LENGTH":
    case "HPE_INVALID_TRANSFER_ENCODING":
      return REFUSALS["content-length"];
    default:
      return code.startsWith("HPE_") ? MALFORMED : null;
  }
}
