import { STREAM_WINDOW_BYTES_MIN, WS_PARTS_FREE_BYTES } from "../../protocol/tunnel/limits.ts";
import { SEND_LEAST_BYTES, SEND_SHARE } from "../limits.ts";
import type { BrokerLimits } from "./types.ts";

/**
 * What a request's answer may take of memory however full the budget of unread answers is: the least window, and of a WebSocket also the
 * beginning of a message that comes in parts.
 */
const LEAST_ANSWER_BYTES = STREAM_WINDOW_BYTES_MIN;
export const answerReserve = (body: "none" | "stream" | "websocket"): number =>
  body === "websocket" ? LEAST_ANSWER_BYTES + WS_PARTS_FREE_BYTES : LEAST_ANSWER_BYTES;

/**
 * Bytes of requests on their way to connectors: heads, kept bodies, queued sends. With the budget of unread answers they make up what the
 * broker accounts for; the two are bounded apart, so that their sum never passes `accountedBytesMax`.
 */
export interface SendAccount {
  readonly usedBytes: number;
  /** False: whoever wants to add so much must be refused. */
  fits(bytes: number): boolean;
  /** What one request that holds `heldBytes` may add now without taking from others. */
  allowance(heldBytes: number): number;
  charge(bytes: number): void;
  /** Whether there is room for what one more answer may take at least. `reserve` with less than 0 gives it back. */
  hasReserve(bytes: number): boolean;
  reserve(bytes: number): void;
}

export function createSendAccount(limits: BrokerLimits, receiveBudgetBytes: number): SendAccount {
  const { inFlightMax, socketsMax, carrierHighWaterBytes, send } = limits;
  const reserveMax = inFlightMax * LEAST_ANSWER_BYTES;
  const receiveMax = receiveBudgetBytes + reserveMax;
  const carrierMax =
    carrierHighWaterBytes === null
      ? 0
      : socketsMax * (carrierHighWaterBytes + send.messageBytes + send.aloneFrameBytes);
  const capBytes = limits.accountedBytesMax - receiveMax - carrierMax;
  const sharedBytes = capBytes - inFlightMax * SEND_LEAST_BYTES;
  if (sharedBytes <= 0) throw new Error("the limits leave no room for requests on their way to connectors");
  let used = 0;
  let reserved = 0;
  return {
    get usedBytes() {
      return used;
    },
    fits: (bytes) => used + bytes <= capBytes,
    allowance: (heldBytes) => Math.max(SEND_LEAST_BYTES, Math.floor((sharedBytes - used) / SEND_SHARE)) - heldBytes,
    charge(bytes) {
      used += bytes;
    },
    hasReserve: (bytes) => reserved + bytes <= reserveMax,
    reserve(bytes) {
      reserved += bytes;
    },
  };
}
