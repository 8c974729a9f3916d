import { socketClose, type LaneFailure } from "../core/failures.ts";
import type { Call } from "../core/types.ts";
import { WS_DRAIN_POLL_MS, WS_HIGH_WATER_BYTES } from "../limits.ts";

/** A visitor's WebSocket and the call that carries it. */
export interface VisitorSocket {
  /** For the response with status 101. */
  readonly client: WebSocket;
  message(kind: "text" | "binary", data: Uint8Array, creditBytes: number): void;
  close(code: number, reason: string): void;
  fail(failure: LaneFailure): void;
}

const NO_CODE = 1005;
const ABNORMAL = 1006;
const INVALID_TEXT = 1007;
const FAILED = 1011;

export function bridgeWebSocket(call: Call): VisitorSocket {
  const { 0: client, 1: server } = new WebSocketPair();
  // Half open: the target's answer to a close decides what the visitor gets, not the runtime.
  server.accept({ allowHalfOpen: true });
  server.binaryType = "arraybuffer";
  const encoder = new TextEncoder();
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let waitingCredit = 0;
  let closed = false;

  const close = (code: number, reason: string): void => {
    if (closed) return;
    closed = true;
    try {
      if (code === NO_CODE) server.close();
      else server.close(code === ABNORMAL ? FAILED : code, reason);
    } catch {
      server.close(FAILED, "the target's close code can't be passed on");
    }
  };

  /** Credit goes back at once while the visitor reads; a reader that stands still holds it, where the runtime tells us so. */
  const release = (credit: number): void => {
    waitingCredit += credit;
    if (buffered(server) < WS_HIGH_WATER_BYTES) {
      call.consumed(waitingCredit);
      waitingCredit = 0;
    } else if (waitingCredit === credit) {
      const poll = (): void => {
        if (closed || waitingCredit === 0) return;
        if (buffered(server) >= WS_HIGH_WATER_BYTES) return void setTimeout(poll, WS_DRAIN_POLL_MS);
        call.consumed(waitingCredit);
        waitingCredit = 0;
      };
      setTimeout(poll, WS_DRAIN_POLL_MS);
    }
  };

  server.addEventListener("message", ({ data }) => {
    if (typeof data === "string") call.sendMessage("text", encoder.encode(data));
    else if (data instanceof ArrayBuffer) call.sendMessage("binary", new Uint8Array(data));
  });
  server.addEventListener("close", ({ code, reason }) => {
    call.sendMessageClose(code, reason);
    // A visitor that is gone without a close takes nothing any more.
    if (code === ABNORMAL) {
      closed = true;
      call.cancel("the visitor went away");
    }
  });
  server.addEventListener("error", () => call.cancel("the visitor's socket failed"));

  return {
    client,
    message(kind, data, creditBytes) {
      if (closed) return call.consumed(creditBytes);
      try {
        server.send(kind === "text" ? decoder.decode(data) : data);
      } catch {
        call.cancel("not sendable to the visitor");
        return close(INVALID_TEXT, "the target sent text that is not UTF-8");
      }
      release(creditBytes);
    },
    close,
    fail(failure) {
      const { code, reason } = socketClose(failure);
      close(code, reason);
    },
  };
}

/** The types don't know it yet; 0 where the runtime does not either, and then only credit bounds what waits. */
function buffered(socket: WebSocket): number {
  const amount: unknown = Reflect.get(socket, "bufferedAmount");
  return typeof amount === "number" ? amount : 0;
}
