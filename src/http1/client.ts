import { performance } from "node:perf_hooks";
import { Call } from "./client-call.ts";
import { ClientConnection, type ClientConnectionHost } from "./client-connection.ts";
import { failure } from "./client-errors.ts";
import type { ClientHandler, ClientRequest, OriginClient, OriginClientOptions } from "./client-types.ts";
import { CLIENT_LIMITS, CLIENT_TIMEOUTS } from "./limits.ts";
import { requestHead } from "./request-head.ts";
import { sweepMs } from "./sweep.ts";

/** HTTP/1.1 to one origin, over kept connections: the last used one first, so that the others can end. */
export function createOriginClient(options: OriginClientOptions): OriginClient {
  const limits = { ...CLIENT_LIMITS, ...options.limits };
  const timeouts = { ...CLIENT_TIMEOUTS, ...options.timeouts };
  const grain = sweepMs(Math.min(timeouts.connectMs, timeouts.queueMs, timeouts.headMs, timeouts.idleMs));
  const connections = new Set<ClientConnection>();
  const idle: ClientConnection[] = [];
  const waiting = new Map<Call, number>(); // until when
  let closed = false;
  let sweeper: NodeJS.Timeout | null = null;
  let allGone: (() => void) | null = null;

  const now = () => performance.now();

  const sweep = (): void => {
    const at = now();
    for (const connection of connections) connection.sweep(at);
    for (const [call, untilMs] of waiting) {
      if (at < untilMs) break; // in order of arrival
      waiting.delete(call);
      call.fail(failure("queue-timeout", "timeout", "no connection became free in time", false));
    }
    if (connections.size > 0 || waiting.size > 0 || sweeper === null) return;
    clearInterval(sweeper);
    sweeper = null;
  };

  const open = (call: Call): void => {
    connections.add(new ClientConnection(call, host));
    sweeper ??= setInterval(sweep, grain).unref();
  };

  /** A place is free: for whoever waits longest. */
  const serveNext = (): void => {
    const [next] = waiting.keys();
    if (next === undefined || connections.size >= limits.sockets) return;
    waiting.delete(next);
    open(next);
  };

  const host: ClientConnectionHost = {
    options,
    limits,
    timeouts,
    now,
    idle(connection, keepMs) {
      if (closed) return connection.destroy();
      for (const next of waiting.keys()) {
        if (next.request.upgrade !== undefined) continue;
        waiting.delete(next);
        return connection.start(next);
      }
      connection.deadlineMs = now() + keepMs;
      idle.push(connection);
    },
    retry: open,
    gone(connection) {
      connections.delete(connection);
      const at = idle.indexOf(connection);
      if (at >= 0) idle.splice(at, 1);
      serveNext();
      if (connections.size === 0) allGone?.();
    },
  };

  /** The most recently used connection that is still good. */
  const kept = (): ClientConnection | null => {
    for (;;) {
      const connection = idle.pop();
      if (connection === undefined) return null;
      if (now() < connection.deadlineMs && connection.socket.writable) return connection;
      connection.destroy();
    }
  };

  const abandon = (call: Call): void => {
    if (waiting.delete(call)) return;
    for (const connection of connections) if (connection.connectsFor(call)) return connection.destroy();
  };

  return {
    dispatch(request: ClientRequest, handler: ClientHandler) {
      const head = requestHead(request, options.origin.host);
      const call = new Call(request, handler, head ?? "", limits.unsentBytes, abandon);
      if (head === null) {
        call.failSoon(failure("invalid-request", "fields", "the request can't be sent as HTTP/1.1", false));
        return call;
      }
      if (closed) {
        call.failSoon(failure("closed", "closed", "the client was closed", false));
        return call;
      }
      const connection = request.upgrade === undefined ? kept() : null;
      if (connection !== null) connection.start(call);
      else if (connections.size < limits.sockets) open(call);
      else if (waiting.size >= limits.waiting) {
        call.failSoon(failure("queue-timeout", "full", "too many requests wait for a connection", false));
      } else {
        waiting.set(call, now() + timeouts.queueMs);
        // An upgrade wants a new connection: an idle one makes room.
        idle.shift()?.destroy();
      }
      return call;
    },
    async close(graceMs) {
      closed = true;
      for (const call of waiting.keys()) call.failSoon(failure("closed", "closed", "the client was closed", false));
      waiting.clear();
      for (const connection of connections) if (!connection.busy) connection.destroy();
      if (connections.size > 0) {
        await new Promise<void>((resolve) => {
          const grace = setTimeout(() => {
            for (const connection of connections) connection.close();
          }, graceMs);
          allGone = () => {
            clearTimeout(grace);
            resolve();
          };
        });
      }
      if (sweeper !== null) clearInterval(sweeper);
      sweeper = null;
    },
    get stats() {
      return { open: connections.size, idle: idle.length, waiting: waiting.size };
    },
  };
}
