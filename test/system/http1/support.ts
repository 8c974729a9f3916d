import { connect, createServer, type Server, type Socket } from "node:net";
import type { ClientFailure, ClientRequest, OriginClient, ClientCall } from "../../../src/http1/client-types.ts";
import { createHttp1Server } from "../../../src/http1/server.ts";
import type { Http1Server, Http1ServerOptions } from "../../../src/http1/server-types.ts";
import type { Exchange, ExchangeOutcome, HeaderList } from "../../../src/http1/types.ts";
import { createLogger } from "../../../src/shared/log.ts";
import { until } from "../../support/until.ts";
import { listenOnLoopback } from "../../support/listen.ts";

export const silent = createLogger("test", () => undefined);

/** A raw connection: what it sent is up to the test, what came is text. */
export interface RawConnection {
  readonly socket: Socket;
  readonly received: () => string;
  readonly ended: () => boolean;
  send(text: string | Buffer): void;
  /** Until what came matches. */
  reads(pattern: RegExp): Promise<string>;
  /** Until the other side closed; gives all that came. */
  closes(): Promise<string>;
}

export function rawConnection(port: number): RawConnection {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  let text = "";
  let over = false;
  socket.on("data", (chunk) => (text += chunk.toString("latin1")));
  socket.on("end", () => (over = true));
  socket.on("close", () => (over = true));
  socket.on("error", () => (over = true));
  return {
    socket,
    received: () => text,
    ended: () => over,
    send: (bytes) => void socket.write(bytes, "latin1"),
    reads: (pattern) =>
      until(`${pattern} in ${JSON.stringify(text)}`, () => pattern.test(text) && text, { intervalMs: 5 }),
    async closes() {
      await until("the end of the connection", () => over, { intervalMs: 5 });
      socket.destroy();
      return text;
    },
  };
}

export interface Seen {
  readonly method: string;
  readonly path: string;
  body: string;
  trailers: HeaderList | null;
  outcome: ExchangeOutcome | null;
}

export interface TestServer {
  readonly server: Http1Server;
  readonly port: number;
  readonly seen: Seen[];
  readonly refusals: string[];
}

type Answer = (exchange: Exchange, seen: Seen) => void;

/** A server that records what comes. `answer` is called when the head came (`early`) or, by default, when the request is complete. */
export async function startServer(
  options: Partial<Http1ServerOptions> & {
    answer?: Answer;
    early?: Answer;
    writable?: (exchange: Exchange) => void;
  } = {},
): Promise<TestServer> {
  const seen: Seen[] = [];
  const refusals: string[] = [];
  const { answer, early, writable, ...rest } = options;
  const reply: Answer =
    answer ??
    ((exchange, { method, path, body }) => void exchange.respond(200, [["x-path", path]], `${method} ${body}`));
  const server = createHttp1Server({
    log: silent,
    onRefused: ({ status, reason }) => {
      refusals.push(`${status} ${reason}`);
      return { headers: [["content-type", "application/problem+json"]], body: JSON.stringify({ reason }) };
    },
    onRequest(exchange) {
      const { method, path, body } = exchange.request;
      const record: Seen = { method, path, body: "", trailers: null, outcome: null };
      seen.push(record);
      if (early !== undefined) early(exchange, record);
      else if (body === "none") reply(exchange, record);
      return {
        data(bytes) {
          record.body += bytes.toString("latin1");
        },
        end(trailers) {
          record.trailers = trailers;
          if (early === undefined) reply(exchange, record);
        },
        writable: () => writable?.(exchange),
        closed(outcome) {
          if (record.outcome !== null) throw new Error("closed twice");
          record.outcome = outcome;
        },
      };
    },
    ...rest,
  });
  const { port } = await server.listen(0, "127.0.0.1");
  return { server, port, seen, refusals };
}

/** A raw origin: `on` gets each connection with what came so far each time something comes. */
export async function startOrigin(on: (socket: Socket, text: string, nth: number) => void): Promise<{
  readonly port: number;
  readonly server: Server;
  readonly connections: () => number;
  close(): void;
}> {
  const sockets = new Set<Socket>();
  let nth = 0;
  const server = createServer((socket) => {
    const mine = (nth += 1);
    sockets.add(socket);
    let text = "";
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      on(socket, text, mine);
    });
  });
  const port = await listenOnLoopback(server);
  return {
    port,
    server,
    connections: () => nth,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

export interface Asked {
  readonly interims: number[];
  status: number | null;
  headers: HeaderList;
  body: string;
  trailers: HeaderList | null;
  failure: ClientFailure | null;
  sentBytes: number;
  call: ClientCall | null;
}

/** One request of the client, to its end. `during` gets the call at once. */
export function ask(
  client: OriginClient,
  request: Partial<ClientRequest> = {},
  during: (call: ClientCall, asked: Asked) => void = () => undefined,
): Promise<Asked> {
  return new Promise((resolve) => {
    const asked: Asked = {
      interims: [],
      status: null,
      headers: [],
      body: "",
      trailers: null,
      failure: null,
      sentBytes: 0,
      call: null,
    };
    asked.call = client.dispatch(
      { method: "GET", path: "/", headers: [], body: "none", ...request },
      {
        interim: (status) => void asked.interims.push(status),
        head({ status, headers }) {
          asked.status = status;
          asked.headers = headers;
        },
        data: (bytes) => void (asked.body += bytes.toString("latin1")),
        end(trailers) {
          asked.trailers = trailers;
          resolve(asked);
        },
        sent: (bytes) => void (asked.sentBytes += bytes),
        failed(failure) {
          asked.failure = failure;
          resolve(asked);
        },
      },
    );
    during(asked.call, asked);
  });
}
