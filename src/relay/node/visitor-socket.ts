import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { WebSocketServer, type WebSocket } from "ws";
import type { Exchange, HeaderList } from "../../http1/types.ts";
import { socketClose } from "../core/failures.ts";
import type { Call } from "../core/types.ts";
import { brokerLimits, WS_HIGH_WATER_BYTES, WS_UNFINISHED_BYTES } from "./limits.ts";
import { createUnfinishedMessages } from "./unfinished-messages.ts";

/** Takes a visitor's connection over once the target has said 101. Null: the visitor is gone. */
export type WebSocketBridge = (
  exchange: Exchange,
  call: Call,
  /** Of the 101, cleaned. */
  fields: HeaderList,
  protocol: string | null,
  events: { moved(bytesUp: number, bytesDown: number): void; ended(): void },
) => VisitorSocket | null;

interface VisitorSocket {
  message(kind: "text" | "binary", data: Uint8Array, creditBytes: number): void;
  messageClose(code: number, reason: string): void;
  writable(): void;
}

const NO_CODE = 1005;
const ABNORMAL = 1006;
const INVALID_TEXT = 1007;
const FAILED = 1011;
const TRY_AGAIN_LATER = 1013;

/** `ws` writes the 101 with these itself. */
const HANDSHAKE = /^(?:connection|upgrade|content-length|transfer-encoding|sec-websocket-.*)$/i;

export interface VisitorSockets {
  readonly bridge: WebSocketBridge;
  /** Ends all of them: the process stops. */
  close(): void;
}

/** `now`: milliseconds of a clock that never jumps. */
export function createVisitorSockets(now: () => number): VisitorSockets {
  const unfinished = createUnfinishedMessages(WS_UNFINISHED_BYTES, now);
  const answers = new WeakMap<IncomingMessage, { readonly fields: HeaderList; readonly protocol: string | null }>();
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate: false,
    maxPayload: brokerLimits(0).session.wsMessageBytes,
    handleProtocols: (_offered, request) => answers.get(request)?.protocol ?? false,
  });
  server.on("headers", (lines, request) => {
    for (const [name, value] of answers.get(request)?.fields ?? []) {
      if (!HANDSHAKE.test(name) && !/[\r\n\0]/.test(value)) lines.push(`${name}: ${value}`);
    }
  });

  return {
    bridge(exchange, call, fields, protocol, events) {
      const taken = exchange.takeSocket();
      if (taken === null) return null;
      answers.set(taken.message, { fields, protocol });
      let bridged: VisitorSocket | null = null;
      server.handleUpgrade(taken.message, taken.socket, taken.head, (socket) => {
        const message = unfinished.open(() => {
          socket.close(TRY_AGAIN_LATER, "too many messages are under way");
          socket.terminate(); // else it keeps what it has
        });
        // Before the listener of ws, which finds out what the bytes are.
        taken.socket.prependListener("data", (bytes: Buffer) => message.received(bytes.length));
        for (const name of ["ping", "pong"]) socket.on(name, (data: Buffer) => message.control(data.length));
        socket.on("message", (data) => data instanceof Buffer && message.finished(data.length));
        socket.on("close", () => message.gone());
        bridged = bridgeSocket(socket, call, events);
      });
      return bridged;
    },
    close() {
      for (const socket of server.clients) {
        const { code, reason } = socketClose({ code: "not-available" });
        socket.close(code, reason);
        socket.terminate(); // nobody waits for the answer to it
      }
    },
  };
}

function bridgeSocket(socket: WebSocket, call: Call, events: Parameters<WebSocketBridge>[4]): VisitorSocket {
  let closing = false;
  const close = (code: number, reason: string): void => {
    if (closing) return;
    closing = true;
    try {
      if (code === NO_CODE) socket.close();
      else socket.close(code === ABNORMAL ? FAILED : code, reason);
    } catch {
      socket.close(FAILED, "the target's close code can't be passed on");
    }
  };

  socket.on("message", (data, isBinary) => {
    if (!(data instanceof Buffer)) return;
    events.moved(data.length, 0);
    if (call.sendMessage(isBinary ? "binary" : "text", data) <= 0 && !call.closed) socket.pause();
  });
  socket.on("close", (code, reason) => {
    closing = true;
    call.sendMessageClose(code, reason.toString());
    // A visitor that is gone without a close takes nothing any more.
    if (code === ABNORMAL) call.cancel("the visitor went away");
    events.ended();
  });
  // `close` follows; without a listener the process would end.
  socket.on("error", () => undefined);

  return {
    message(kind, data, creditBytes) {
      if (closing) return call.consumed(creditBytes);
      if (kind === "text" && !isUtf8(data)) {
        call.cancel("not sendable to the visitor");
        return close(INVALID_TEXT, "the target sent text that is not UTF-8");
      }
      events.moved(0, data.length);
      const isBinary = kind === "binary";
      if (socket.bufferedAmount < WS_HIGH_WATER_BYTES) {
        socket.send(data, { binary: isBinary });
        call.consumed(creditBytes);
      } else {
        // What stands before it has to leave first: the credit goes back when the system has taken it all.
        socket.send(data, { binary: isBinary }, () => call.consumed(creditBytes));
      }
    },
    messageClose: close,
    writable: () => socket.resume(),
  };
}
