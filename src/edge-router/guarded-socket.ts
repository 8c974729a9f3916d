import type { Timer } from "./timer.ts";

/** Why a socket must end now, as a close reason; null: it may go on. Rejects when that can't be told, and then it goes on. */
export type Recheck = () => Promise<string | null>;

/** RFC 6455, section 7.4.1: ended by a rule of ours. */
const POLICY_VIOLATION = 1008;
const GOING_AWAY = 1001;
const FAILED = 1011;
const NO_CODE = 1005;
const ABNORMAL = 1006;

/**
 * A WebSocket of a protected route, passed on message by message, so that it can be ended when what let it in does not hold any more: a session
 * that was ended or revoked, a route made stricter, a tenant suspended. The runtime would couple both sockets for less, but nobody could part
 * them. `behind`: what the node or the lane answered with. Returns the visitor's end, for the response.
 */
export function guardSocket(behind: WebSocket, recheck: Recheck, everyMs: number, timer: Timer): WebSocket {
  const { 0: client, 1: visitor } = new WebSocketPair();
  // Half open: the other side's answer to a close goes back as it is.
  for (const socket of [visitor, behind]) {
    socket.accept({ allowHalfOpen: true });
    socket.binaryType = "arraybuffer";
  }
  let isOver = false;
  let stopTimer = (): void => undefined;

  /** A close frame on its way to the other side; what can't be said in one becomes the nearest that can. */
  function passClose(to: WebSocket, code: number, reason: string): void {
    try {
      if (code === NO_CODE) to.close();
      else to.close(code === ABNORMAL ? FAILED : code, reason);
    } catch {
      // Closed already, or with a code that only a peer may use.
      try {
        to.close(FAILED, "");
      } catch {
        return;
      }
    }
  }

  function over(): void {
    isOver = true;
    stopTimer();
  }

  function couple(from: WebSocket, to: WebSocket): void {
    from.addEventListener("message", ({ data }) => {
      if (isOver) return;
      try {
        to.send(data);
      } catch {
        passClose(from, GOING_AWAY, "");
      }
    });
    from.addEventListener("close", ({ code, reason }) => {
      over();
      passClose(to, code, reason);
      // The answer to its close frame, where this side was not the one that began.
      passClose(from, code, reason);
    });
    from.addEventListener("error", () => {
      over();
      passClose(to, FAILED, "");
    });
  }
  couple(visitor, behind);
  couple(behind, visitor);

  async function check(): Promise<void> {
    const reason = await recheck().catch(() => null);
    if (isOver) return;
    if (reason === null) return arm();
    over();
    passClose(visitor, POLICY_VIOLATION, reason);
    passClose(behind, GOING_AWAY, "");
  }
  function arm(): void {
    stopTimer = timer(everyMs, () => void check());
  }
  arm();
  return client;
}
