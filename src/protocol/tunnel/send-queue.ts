import { FLAG, FRAME, FRAME_KIND_BYTES, WS_KIND } from "./frame.ts";
import type { MessageBuilder } from "./frame.ts";
import { FRAME_HEADER_BYTES } from "./limits.ts";

/** What all streams of a session share while they send. */
export interface Carrier {
  /** Session credit: body bytes that all streams together may still send. */
  creditBytes: number;
  /** The peer's longest message. */
  peerMessageBytes: number;
}

type Item =
  | {
      readonly kind: "frame";
      readonly type: number;
      readonly flags: number;
      readonly payload: Uint8Array;
      readonly mayEnd: boolean;
    }
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  | { readonly kind: "message"; readonly wsKind: number; readonly bytes: Uint8Array }
  /** The end of our direction, for when nothing that could carry the END flag is left. */
  | { readonly kind: "end" };

/** "empty": nothing waits. "more": something may go now. The others: what it waits for. */
export type PumpState = "empty" | "more" | "stream-credit" | "session-credit" | "message-full";

/** One stream's outgoing frames in order, under credit. */
export interface SendQueue {
  readonly queuedBytes: number;
  readonly creditBytes: number;
  readonly empty: boolean;
  /** OPEN or HEADERS or TRAILERS or a WebSocket close. `mayEnd`: END may be set on it when nothing follows. */
  addFrame(type: number, flags: number, payload: Uint8Array, mayEnd: boolean): void;
  addData(bytes: Uint8Array): void;
  addMessage(wsKind: number, bytes: Uint8Array): void;
  /** Nothing follows: END goes on the last frame that can carry it. */
  addEnd(): void;
  /** False when the sum would break the protocol's bound. */
  addCredit(bytes: number, maxBytes: number): boolean;
  /** Moves what may go now into the message, at most `quantumBytes` of body. */
  pump(builder: MessageBuilder, streamId: number, quantumBytes: number): PumpState;
  /** The state that `pump` would start from. */
  state(): PumpState;
  clear(): void;
}

/** A WS_MSG is charged with its frame header too, so that empty messages are not free. */
export const WS_FRAME_COST_BYTES = FRAME_HEADER_BYTES + FRAME_KIND_BYTES;

export function createSendQueue(initialCreditBytes: number, carrier: Carrier): SendQueue {
  let items: Item[] = [];
  let head = 0; // index of the first item; the array is cut when it runs empty
  let offset = 0; // bytes of the first item that are gone
  let queued = 0;
  let credit = initialCreditBytes;
  let ending = false;

  const shift = (): void => {
    head += 1;
    offset = 0;
    if (head === items.length) {
      items = [];
      head = 0;
    } else if (head > 64 && head * 2 > items.length) {
      items = items.slice(head);
      head = 0;
    }
  };
  const last = (): boolean => head === items.length - 1;
  /** END on this frame? Only with the last item, and then there is no item left to do it. */
  const endFlag = (): number => {
    if (!ending || !last()) return 0;
    ending = false;
    return FLAG.end;
  };
  const state = (): PumpState => {
    const item = items[head];
    if (item === undefined) return "empty";
    if (item.kind === "frame" || item.kind === "end" || (item.kind === "data" && item.bytes.length === 0))
      return "more";
    const least = item.kind === "message" ? WS_FRAME_COST_BYTES + Math.min(1, item.bytes.length) : 1;
    if (credit < least) return "stream-credit";
    return carrier.creditBytes < least ? "session-credit" : "more";
  };
  const spend = (bytes: number): void => {
    credit -= bytes;
    carrier.creditBytes -= bytes;
  };

  return {
    get queuedBytes() {
      return queued;
    },
    get creditBytes() {
      return credit;
    },
    get empty() {
      return head === items.length;
    },
    addFrame(type, flags, payload, mayEnd) {
      items.push({ kind: "frame", type, flags, payload, mayEnd });
    },
    addData(bytes) {
      items.push({ kind: "data", bytes });
      queued += bytes.length;
    },
    addMessage(wsKind, bytes) {
      items.push({ kind: "message", wsKind, bytes });
      queued += bytes.length;
    },
    addEnd() {
      const tail = items.at(-1);
      if (tail !== undefined && head < items.length && (tail.kind === "data" || (tail.kind === "frame" && tail.mayEnd)))
        ending = true;
      else items.push({ kind: "end" });
    },
    addCredit(bytes, maxBytes) {
      if (credit + bytes > maxBytes) return false;
      credit += bytes;
      return true;
    },
    state,
    pump(builder, streamId, quantumBytes) {
      let quantum = quantumBytes;
      for (;;) {
        const now = state();
        if (now !== "more") return now;
        const item = items[head];
        if (item === undefined) return "empty";
        if (quantum <= 0 && (item.kind === "data" || item.kind === "message")) return "more";
        const room = carrier.peerMessageBytes - builder.bytes - FRAME_HEADER_BYTES;
        switch (item.kind) {
          case "frame":
            if (item.payload.length > room && builder.bytes > 0) return "message-full";
            builder.add(item.type, item.flags | (item.mayEnd ? endFlag() : 0), streamId, item.payload);
            shift();
            break;
          case "end":
            builder.add(FRAME.data, FLAG.end, streamId, null);
            shift();
            break;
          case "data": {
            const rest = item.bytes.length - offset;
            const bytes = Math.min(rest, quantum, room, credit, carrier.creditBytes);
            if (bytes <= 0 && rest > 0) return "message-full";
            const whole = bytes === rest;
            const flags = whole ? endFlag() : 0;
            if (bytes > 0 || flags !== 0) {
              builder.add(
                FRAME.data,
                flags,
                streamId,
                offset === 0 && whole ? item.bytes : item.bytes.subarray(offset, offset + bytes),
              );
            }
            spend(bytes);
            quantum -= bytes;
            queued -= bytes;
            if (whole) shift();
            else offset += bytes;
            break;
          }
          case "message": {
            const rest = item.bytes.length - offset;
            const most = Math.min(
              room - FRAME_KIND_BYTES,
              credit - WS_FRAME_COST_BYTES,
              carrier.creditBytes - WS_FRAME_COST_BYTES,
            );
            const bytes = Math.min(rest, quantum, most);
            if (bytes < 0 || (bytes === 0 && rest > 0)) return "message-full";
            const whole = bytes === rest;
            builder.add(
              FRAME.wsMessage,
              whole ? FLAG.fin : 0,
              streamId,
              item.bytes.subarray(offset, offset + bytes),
              item.wsKind,
            );
            spend(bytes + WS_FRAME_COST_BYTES);
            quantum -= bytes + WS_FRAME_COST_BYTES;
            queued -= bytes;
            if (whole) shift();
            else offset += bytes;
            break;
          }
        }
      }
    },
    clear() {
      items = [];
      head = 0;
      offset = 0;
      queued = 0;
      ending = false;
    },
  };
}

export const wsKindCode = (kind: "text" | "binary"): number => (kind === "text" ? WS_KIND.text : WS_KIND.binary);
