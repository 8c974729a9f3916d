import { STREAM_WINDOW_BYTES_MIN } from "../../protocol/tunnel/limits.ts";
import { SEND_LEAST_BYTES, SEND_SHARE } from "../limits.ts";
import type { BrokerLimits } from "./types.ts";

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
}

export function createSendAccount(limits: BrokerLimits, receiveBudgetBytes: number): SendAccount {
  const { inFlightMax, socketsMax, carrierHighWaterBytes, send } = limits;
  const receiveMax = receiveBudgetBytes + inFlightMax * STREAM_WINDOW_BYTES_MIN;
  const carrierMax =
    carrierHighWaterBytes === null
      ? 0
      : socketsMax * (carrierHighWaterBytes + send.messageBytes + send.aloneFrameBytes);
  const capBytes = limits.accountedBytesMax - receiveMax - carrierMax;
  const sharedBytes = capBytes - inFlightMax * SEND_LEAST_BYTES;
  if (sharedBytes <= 0) throw new Error("the limits leave no room for requests on their way to connectors");
  let used = 0;
  return {
    get usedBytes() {
      return used;
    },
    fits: (bytes) => used + bytes <= capBytes,
    allowance: (heldBytes) => Math.max(SEND_LEAST_BYTES, Math.floor((sharedBytes - used) / SEND_SHARE)) - heldBytes,
    charge(bytes) {
      used += bytes;
    },
  };
}
