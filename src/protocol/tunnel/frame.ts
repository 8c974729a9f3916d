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

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  /** A view of the message. */
  readonly payload: Uint8Array;
}

/**
 * Calls `each` for every frame of a message, in order, until it answers false. False when the message is not a sequence of whole frames;
 * frames before the broken place have been handed over then. Nothing is allocated from a length that has not been checked.
 */
export function readFrames(message: Uint8Array, each: (frame: Frame) => boolean): boolean {
  let at = 0;
  while (at < message.length) {
    if (message.length - at < FRAME_HEADER_BYTES) return false;
    const length = (byte(message, at) << 16) | (byte(message, at + 1) << 8) | byte(message, at + 2);
    const start = at + FRAME_HEADER_BYTES;
    if (length > message.length - start) return false;
    const frame = {
      type: byte(message, at + 3),
      flags: byte(message, at + 4),
      streamId: readU32(message, at + 5),
      payload: message.subarray(start, start + length),
    };
    at = start + length;
    if (!each(frame)) return true;
  }
  return true;
}

/** Collects frames and writes them as one message: one allocation and one copy of each payload. */
export interface MessageBuilder {
  /** Of the message so far. */
  readonly bytes: number;
  add(type: number, flags: number, streamId: number, payload: Uint8Array | null, prefix?: number): void;
  /** The message, or null when there is no frame. The builder is empty afterwards. */
  build(): Uint8Array | null;
}

/** `prefix` of `add` is one byte before the payload (the kind of a WS_MSG), so that no payload is copied for it. */
export function createMessageBuilder(allocate: (bytes: number) => Uint8Array): MessageBuilder {
  const NO_PREFIX = -1;
  let frames: { type: number; flags: number; streamId: number; payload: Uint8Array | null; prefix: number }[] = [];
  let bytes = 0;
  return {
    get bytes() {
      return bytes;
    },
    add(type, flags, streamId, payload, prefix = NO_PREFIX) {
      frames.push({ type, flags, streamId, payload, prefix });
      bytes += FRAME_HEADER_BYTES + (payload?.length ?? 0) + (prefix === NO_PREFIX ? 0 : 1);
    },
    build() {
      if (frames.length === 0) return null;
      const space = allocate(bytes);
      let at = 0;
      for (const { type, flags, streamId, payload, prefix } of frames) {
        const length = (payload?.length ?? 0) + (prefix === NO_PREFIX ? 0 : 1);
        space[at] = length >>> 16;
        space[at + 1] = length >>> 8;
        space[at + 2] = length;
        space[at + 3] = type;
        space[at + 4] = flags;
        writeU32(space, at + 5, streamId);
        at += FRAME_HEADER_BYTES;
        if (prefix !== NO_PREFIX) space[at++] = prefix;
        if (payload !== null) space.set(payload, at);
        at += payload?.length ?? 0;
      }
      const message = space.length === bytes ? space : space.subarray(0, bytes);
      frames = [];
      bytes = 0;
      return message;
    },
  };
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
