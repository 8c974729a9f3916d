import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import type { Exchange, HeaderList } from "../../http1/types.ts";
import { refusal } from "../core/failures.ts";
import type { AnswerAbout, AnswerEvents, Call } from "../core/types.ts";
import { PEER_CONNECT_MS, PEER_IDLE_SOCKETS, PEER_SPARE_MS, WS_HIGH_WATER_BYTES } from "./limits.ts";
import { PEER_HEADER, signPassedOn } from "./peer-proof.ts";
import type { Visit } from "./visit.ts";

/** Passes a request that this lane can't take on to the other lane's process, as it came. Never one that came from there (R04). */
export type PeerCall = (
  exchange: Exchange,
  visit: Visit,
  answer: AnswerEvents,
  /** A WebSocket went through: its bytes pass both ways from here on. */
  events: { tunnelled(): void; ended(): void },
  patience: PeerPatience,
) => Call;

/**
 * Milliseconds without any progress after which the peer has ended the request itself, unless it stands still. Only then we do: it knows more.
 */
export interface PeerPatience {
  /** Until the head. */
  readonly headMs: number;
  /** After it. */
  readonly idleMs: number;
}

/** Of one hop; the next one has its own. A visitor's claim to be our peer goes nowhere. */
const ONE_HOP =
  /^(?:connection|keep-alive|proxy-connection|proxy-authorization|te|transfer-encoding|upgrade|host|expect|causeway-peer)$/i;

const NOBODY: AnswerAbout = {
  lane: "a",
  connectorId: "",
  connector: "",
  instanceId: "",
  software: "",
  attempts: 0,
  waitedMs: 0,
  firstByteMs: 0,
};

export function createPeer(url: URL, secret: Buffer, now: () => number): { call: PeerCall; close(): void } {
  const secure = url.protocol === "https:";
  const agent = new (secure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxFreeSockets: PEER_IDLE_SOCKETS });

  const call: PeerCall = (exchange, visit, answer, events, patience) => {
    const { request: head } = exchange;
    const { requestId, traceparent, clientAddress, scheme } = visit;
    const { method, host, path } = head;
    const isWebSocket = head.upgrade === "websocket";
    const headers = head.headers.filter(([name]) => !ONE_HOP.test(name)).flat();
    headers.push(
      "host",
      host,
      PEER_HEADER,
      signPassedOn({ requestId, traceparent, clientAddress, scheme }, { method, host, path }, secret, now()),
    );
    if (isWebSocket) headers.push("connection", "Upgrade", "upgrade", "websocket");

    const asked = (secure ? httpsRequest : httpRequest)({
      host: url.hostname,
      port: url.port,
      method,
      path,
      headers,
      agent,
    });
    let response: IncomingMessage | null = null;
    let held = 0;
    let over = false;

    const giveUp = (): void => {
      // What the visitor has not taken holds the answer up, not the peer.
      if (held > WS_HIGH_WATER_BYTES) waiting.refresh();
      else if (response === null) asked.destroy(new Error("it stands still"));
      else response.destroy();
    };
    let waiting = setTimeout(giveUp, patience.headMs + PEER_SPARE_MS);
    const connecting = setTimeout(() => asked.destroy(new Error("no connection")), PEER_CONNECT_MS);
    asked.once("socket", (socket) => {
      if (!socket.connecting) clearTimeout(connecting);
      else socket.once(secure ? "secureConnect" : "connect", () => clearTimeout(connecting));
    });
    asked.on("information", ({ statusCode, rawHeaders }) => {
      if (statusCode === 103) answer.interim?.({ status: statusCode, headers: pairs(rawHeaders) });
    });
    asked.on("response", (found) => {
      response = found;
      clearTimeout(waiting);
      waiting = setTimeout(giveUp, patience.idleMs + PEER_SPARE_MS);
      answer.head({ status: found.statusCode ?? 502, headers: pairs(found.rawHeaders) }, NOBODY);
      found.on("data", (chunk: Buffer) => {
        held += chunk.length;
        waiting.refresh();
        if (held > WS_HIGH_WATER_BYTES) found.pause();
        answer.data(chunk);
      });
      found.on("end", () => {
        over = true;
        clearTimeout(waiting);
        answer.end(pairs(found.rawTrailers));
      });
      found.on("error", () => undefined);
      found.on("close", () => {
        clearTimeout(waiting);
        if (over) return;
        over = true;
        answer.broken(refusal("not-available", "The other lane of the relay broke off."));
      });
    });
    asked.on("upgrade", (found, socket, first) => {
      over = true;
      clearTimeout(waiting);
      events.tunnelled();
      tunnel(exchange, found, socket, first, () => events.ended());
    });
    asked.on("drain", () => {
      waiting.refresh();
      answer.writable();
    });
    asked.on("error", () => {
      clearTimeout(connecting);
      if (response === null) clearTimeout(waiting);
      if (over || response !== null) return;
      over = true;
      answer.failed({
        ...refusal("not-available", "The other lane of the relay does not answer."),
        tryElsewhere: false,
      });
    });
    if (head.body === "none" || isWebSocket) asked.end();

    return {
      get closed() {
        return over;
      },
      get writable() {
        return asked.writableNeedDrain ? 0 : asked.writableHighWaterMark;
      },
      get heldBytes() {
        return held;
      },
      write(bytes) {
        waiting.refresh();
        return asked.write(bytes) ? asked.writableHighWaterMark : 0;
      },
      end(trailers = []) {
        waiting.refresh();
        if (trailers.length > 0) asked.addTrailers(trailers.map(([name, value]): [string, string] => [name, value]));
        asked.end();
      },
      sendMessage: () => 0,
      sendMessageClose: () => undefined,
      consumed(bytes) {
        held -= bytes;
        if (held <= WS_HIGH_WATER_BYTES) response?.resume();
      },
      cancel() {
        over = true;
        clearTimeout(connecting);
        clearTimeout(waiting);
        asked.destroy();
      },
    };
  };
  return { call, close: () => agent.destroy() };
}

/** The peer has done the handshake with the visitor's own key: its answer and all that follows pass as they are. */
function tunnel(exchange: Exchange, found: IncomingMessage, peer: Duplex, first: Buffer, ended: () => void): void {
  const taken = exchange.takeSocket();
  if (taken === null) {
    peer.destroy();
    return ended();
  }
  const { socket, head } = taken;
  const lines = pairs(found.rawHeaders).map(([name, value]) => `${name}: ${value}`);
  socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`, "latin1");
  if (first.length > 0) socket.write(first);
  if (head.length > 0) peer.write(head);
  const cut = (): void => {
    socket.destroy();
    peer.destroy();
  };
  socket.on("error", cut).once("close", () => {
    cut();
    ended();
  });
  peer.on("error", cut).once("close", cut);
  socket.pipe(peer).pipe(socket);
}

function pairs(raw: readonly string[]): HeaderList {
  const list: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) list.push([raw[i] ?? "", raw[i + 1] ?? ""]);
  return list;
}
