import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Duplex } from "node:stream";
import { importJWK, jwtVerify } from "jose";
import { WebSocketServer, type WebSocket } from "ws";
import {
  createSession,
  type ConfigAck,
  type ConnectorReport,
  type PeerHello,
  type Session,
  type SessionLimits,
} from "../../../src/protocol/tunnel/session.ts";
import type { PublicJwk } from "../../../src/protocol/jwk.ts";
import { until } from "../../support/until.ts";
import { openExchange, type Exchange, type ExchangeRequest } from "./exchange.ts";
import { listenOnLoopback } from "../../support/listen.ts";

/**
 * A relay in the test's own hands: the real session core in the role of the relay over real WebSockets on /connect/a and /connect/b, and
 * whatever a relay may do to a connector (refuse, drop, go away, replace).
 */
export interface TestRelay {
  /** http(s)://relay.causeway.localhost:port */
  readonly url: string;
  readonly port: number;
  /** Upgrades asked for so far, refused ones included. */
  readonly dials: readonly {
    readonly lane: string;
    /** Who is named beside a token that does not say it. */
    readonly client: string | null;
    readonly authorization: string;
    readonly atMs: number;
  }[];
  /** Sockets whose connector has greeted, oldest first. */
  readonly links: readonly RelayLink[];
  /** What the next dials get instead of an upgrade. */
  refuse: { status: number; headers?: Record<string, string>; body?: string } | null;
  /** Upgrades wait for it. */
  gate: Promise<void>;
  /** Answers what is no upgrade, if it says true. */
  answer: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Whether a dial's Authorization is good. Default: an assertion of the given key, if there is one. */
  admits: ((authorization: string) => boolean) | null;
  /** Of the answer to anything but an upgrade. */
  headers: Record<string, string>;
  /** Waits for a greeted link of the lane (and instance, and newer than `not`). */
  link(lane: "a" | "b", wanted?: { instanceId?: string; not?: RelayLink }): Promise<RelayLink>;
  /** Drops every connection and stops listening; `listen` takes the same port again. */
  stop(): Promise<void>;
  listen(): Promise<void>;
}

export interface RelayLink {
  readonly lane: string;
  readonly socket: WebSocket;
  readonly session: Session;
  readonly peer: PeerHello;
  /** The last TARGETS, if any came. */
  readonly targets: readonly string[] | null;
  /** What came in band. */
  readonly reports: readonly ConnectorReport[];
  readonly tokens: readonly string[];
  readonly acks: readonly ConfigAck[];
  /** How often TARGETS came. */
  readonly announcements: number;
  /** Reason of DRAIN, once it came. */
  readonly draining: string | null;
  readonly closed: { readonly code: number; readonly reason: string } | null;
  open(request: ExchangeRequest): Exchange;
  /** Takes the next messages and answers nothing, as a middlebox that forgot the connection. */
  deaf: boolean;
  /** Messages that came while it was deaf. */
  readonly ignored: number;
}

const LIMITS: SessionLimits = {
  messageBytes: 1024 * 1024,
  streamWindowBytes: 1024 * 1024,
  sessionWindowBytes: 80 * 1024 * 1024,
  streams: 0,
  wsMessageBytes: 8 * 1024 * 1024,
};
const SEND = { messageBytes: 65_536, contendedFrameBytes: 16_384, aloneFrameBytes: 65_536, streamQueueBytes: 131_072 };

export async function startTestRelay(
  options: { tls?: { cert: string; key: string }; key?: PublicJwk; identity?: string } = {},
): Promise<TestRelay> {
  const links: RelayLink[] = [];
  const dials: { lane: string; client: string | null; authorization: string; atMs: number }[] = [];
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  let server: Server | null = null;
  let port = 0;

  const admits = async (request: IncomingMessage): Promise<boolean> => {
    if (relay.admits !== null) return relay.admits(request.headers.authorization ?? "");
    if (options.key === undefined) return true;
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    const identity = options.identity ?? "acme/plant-1";
    const { kid, kty, crv, x } = options.key;
    const key = await importJWK({ kid, kty, crv, x }, "EdDSA");
    return await jwtVerify(token, key, { issuer: identity, subject: identity, audience: relay.url }).then(
      () => true,
      () => false,
    );
  };

  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const lane = /^\/connect\/([ab])(?:\?|$)/.exec(request.url ?? "")?.[1] ?? "?";
    const client = new URL(request.url ?? "/", "http://relay").searchParams.get("client");
    dials.push({ lane, client, authorization: request.headers.authorization ?? "", atMs: Date.now() });
    await relay.gate;
    const refusal = relay.refuse ?? ((await admits(request)) ? null : { status: 401 });
    if (refusal !== null) {
      const { status, headers = {}, body = "" } = refusal;
      const lines = Object.entries({ date: new Date().toUTCString(), ...headers, "content-length": body.length });
      socket.end(
        `HTTP/1.1 ${status} No\r\n${lines.map(([k, v]) => `${k}: ${v}\r\n`).join("")}connection: close\r\n\r\n${body}`,
      );
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => accept(lane, webSocket));
  };

  const accept = (lane: string, socket: WebSocket): void => {
    let link:
      | (RelayLink & {
          targets: readonly string[] | null;
          draining: string | null;
          closed: RelayLink["closed"];
          ignored: number;
          announcements: number;
          reports: ConnectorReport[];
          tokens: string[];
          acks: ConfigAck[];
        })
      | null = null;
    const flush = (): void => {
      for (;;) {
        const message = session.takeMessage();
        if (message === null || socket.readyState !== socket.OPEN) return;
        if (link?.deaf !== true) socket.send(message);
      }
    };
    const session: Session = createSession({
      role: "relay",
      now: Date.now,
      limits: LIMITS,
      send: SEND,
      // Less than half of the session's window, as lanes have it: streams' windows are what holds stalled ones down.
      budget: { totalBytes: 32 * 1024 * 1024, committedBytes: 0 },
      identity: { instanceId: "", targets: [], sessionId: `ses_${dials.length}`, software: "test relay" },
      events: {
        flushNeeded: () => void setImmediate(flush),
        hello(peer) {
          const open = (request: ExchangeRequest) => openExchange(session, request);
          link = {
            lane,
            socket,
            session,
            peer,
            targets: null,
            announcements: 0,
            reports: [],
            tokens: [],
            acks: [],
            draining: null,
            closed: null,
            deaf: false,
            ignored: 0,
            open,
          };
          links.push(link);
        },
        targets(targets) {
          if (link === null) return;
          link.targets = targets;
          link.announcements += 1;
        },
        report: (report) => void link?.reports.push(report),
        token(token) {
          link?.tokens.push(token);
          session.tokenAccepted(60_000);
        },
        configAcknowledged: (ack) => void link?.acks.push(ack),
        draining(reason) {
          if (link !== null) link.draining = reason;
        },
        failed: ({ closeCode, reason }) => socket.close(closeCode, reason),
      },
    });
    socket.on("message", (data) => {
      if (link?.deaf === true) link.ignored += 1;
      else if (data instanceof Buffer) session.receive(data);
    });
    socket.on("error", () => undefined);
    socket.once("close", (code, reason) => {
      if (link !== null) link.closed = { code, reason: reason.toString() };
      session.lost("the socket is gone");
    });
    flush();
  };

  const relay: TestRelay = {
    get url() {
      return `${options.tls === undefined ? "http" : "https"}://relay.causeway.localhost:${port}`;
    },
    get port() {
      return port;
    },
    dials,
    links,
    refuse: null,
    answer: () => false,
    admits: null,
    gate: Promise.resolve(),
    headers: {},
    link: (lane, wanted = {}) =>
      until(`a link on lane ${lane}`, () =>
        links.findLast(
          (link) =>
            link.lane === lane &&
            link.closed === null &&
            link !== wanted.not &&
            (wanted.instanceId === undefined || link.peer.instanceId === wanted.instanceId),
        ),
      ),
    async stop() {
      const stopping = server;
      server = null;
      for (const client of sockets.clients) client.terminate();
      await new Promise((resolve) => (stopping === null ? resolve(null) : stopping.close(resolve)));
    },
    async listen() {
      const listening = options.tls === undefined ? createServer() : createTlsServer(options.tls);
      server = listening;
      listening.on("request", (request, response) => {
        if (relay.answer(request, response)) return;
        response.writeHead(400, { "causeway-error": "bad-request", ...relay.headers }).end();
        request.resume();
      });
      listening.on("upgrade", (request, socket, head) => void upgrade(request, socket, head));
      port = await listenOnLoopback(listening, port);
    },
  };
  await relay.listen();
  return relay;
}
