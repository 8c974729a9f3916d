import { FRAME_HEADER_BYTES } from "./limits.ts";

/** Frame types. Below 0x10: the session (stream id 0, except WINDOW); from 0x10: one stream. */
export const FRAME = {
  hello: 0x01,
  targets: 0x02,
  ping: 0x03,
  pong: 0x04,
  goAway: 0x05,
  drain: 0x06,
  replaced: 0x07,
  resync: 0x08,
  resynced: 0x09,
  window: 0x0a,
  report: 0x0b,
  token: 0x0c,
  tokenOk: 0x0d,
  config: 0x0e,
  configAck: 0x0f,
  open: 0x10,
  headers: 0x11,
  data: 0x12,
  trailers: 0x13,
  wsMessage: 0x14,
  reset: 0x15,
  stop: 0x16,
} as const;

export const FLAG = {
  /** OPEN, HEADERS, DATA: nothing follows in this direction. */
  end: 0x01,
  /** OPEN: wants a WebSocket. */
  upgrade: 0x02,
  /** WS_MSG: last frame of its message. */
  fin: 0x04,
  /** Any type: a receiver that does not know it skips it. */
  ignorable: 0x80,
} as const;

/** A WS_MSG begins with one byte of kind. */
export const FRAME_KIND_BYTES = 1;
/** Values of that byte. */
export const WS_KIND = { text: 1, binary: 2, close: 8 } as const;

/** The reader uses one object for all frames of a message: take what you need of it, don't keep it. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  /** A view of the message; this may be kept. */
  readonly payload: Uint8Array;
}

/**
 * Calls `each` for every frame of a message, in order, until it answers false. False when the message is not a sequence of whole frames;
 * frames before the broken place have been handed over then. Nothing is allocated from a length that has not been checked.
 */
export function readFrames(message: Uint8Array, each: (frame: Frame) => boolean): boolean {
  const frame = { type: 0, flags: 0, streamId: 0, payload: message };
  let at = 0;
  while (at < message.length) {
    if (message.length - at < FRAME_HEADER_BYTES) return false;
    const length = (byte(message, at) << 16) | (byte(message, at + 1) << 8) | byte(message, at + 2);
    const start = at + FRAME_HEADER_BYTES;
    if (length > message.length - start) return false;
    frame.type = byte(message, at + 3);
    frame.flags = byte(message, at + 4);
    frame.streamId = readU32(message, at + 5);
    frame.payload = message.subarray(start, start + length);
    at = start + length;
    if (!each(frame)) return true;
  }
  return true;
}

/** Bytes beyond the end read as 0; callers check lengths first. */
const byte = (bytes: Uint8Array, at: number): number => bytes[at] ?? 0;

export const readU16 = (bytes: Uint8Array, at: number): number => (byte(bytes, at) << 8) | byte(bytes, at + 1);

export const readU32 = (bytes: Uint8Array, at: number): number => readU16(bytes, at) * 0x10000 + readU16(bytes, at + 2);

export function writeU16(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 8;
  into[at + 1] = value;
}

export function writeU32(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeU32(bytes, 0, value);
  return bytes;
}
