import { FRAME, readFrames, readU32 } from "../../src/protocol/tunnel/frame.ts";

/**
 * What one end may send, by what is seen on the wire only: an account of credit that knows the protocol from its description, not from the
 * session's code. Throws when an end sends more than it was granted, or body after its end.
 */
export interface WireAccount {
  /** Of the session. */
  readonly creditBytes: number;
  /** A message that this end sent. */
  sent(message: Uint8Array): void;
  /** A message that this end received. */
  received(message: Uint8Array): void;
  /** The end lost its memory: streams are gone, the session's credit is as at the beginning, what is on its way counts no more. */
  restart(): void;
}

const WS_CLOSE = 8;

export function createAccount(who: string, firstStreamBytes: number, sessionBytes: number): WireAccount {
  let streams = new Map<number, number>();
  let ended = new Set<number>();
  let session = sessionBytes;
  let nonce: number | null = null; // of our RESYNC, until it is answered
  const of = (id: number): number => streams.get(id) ?? firstStreamBytes;
  const restart = (): void => {
    streams = new Map();
    ended = new Set();
    session = sessionBytes;
  };
  return {
    get creditBytes() {
      return session;
    },
    restart,
    sent(message) {
      const whole = readFrames(message, ({ type, flags, streamId, payload }) => {
        if (type === FRAME.resync) nonce = readU32(payload, 0);
        if (type !== FRAME.data && type !== FRAME.wsMessage && type !== FRAME.trailers) return true;
        if (ended.has(streamId)) throw new Error(`${who} sends body on stream ${streamId} after its end`);
        const close = type === FRAME.wsMessage && payload[0] === WS_CLOSE;
        if (close || type === FRAME.trailers || (type === FRAME.data && (flags & 1) !== 0)) ended.add(streamId);
        const cost = type === FRAME.data ? payload.length : type === FRAME.wsMessage && !close ? payload.length + 9 : 0;
        const left = of(streamId) - cost;
        streams.set(streamId, left);
        session -= cost;
        if (left < 0) throw new Error(`${who} sends ${-left} bytes too many on stream ${streamId}`);
        if (session < 0) throw new Error(`${who} sends ${-session} bytes more than the session has credit`);
        return true;
      });
      if (!whole) throw new Error(`${who} sends a broken message`);
    },
    received(message) {
      readFrames(message, ({ type, streamId, payload }) => {
        if (type === FRAME.resync) restart();
        if (type === FRAME.open) streams.set(streamId, readU32(payload, 4));
        if (type === FRAME.resynced && readU32(payload, 0) === nonce) nonce = null;
        if (type !== FRAME.window || nonce !== null) return true;
        const bytes = readU32(payload, 0);
        if (streamId === 0) session += bytes;
        else streams.set(streamId, of(streamId) + bytes);
        return true;
      });
    },
  };
}
