import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { MASKED_IN_PLACE_BYTES } from "./limits.ts";
import { mask, nextMaskKey } from "./masking.ts";

/** The connection below each WebSocket. */
const wires = new WeakMap<WebSocket, Duplex>();

/** To be called before it opens. */
export function watchWire(socket: WebSocket): void {
  socket.once("upgrade", (response) => wires.set(socket, response.socket));
}

const BINARY_WHOLE = 0x82;
const MASKED = 0x80;
const LENGTH_16 = 126;
const LENGTH_64 = 127;

/**
 * A binary message, which is ours to change until `done`. `ws` copies what it masks; under bulk that is a second piece of memory for every byte,
 * for the garbage collector. A long message is masked where it is and goes out as a frame of its own.
 */
export function sendMessage(socket: WebSocket, message: Uint8Array, done: (error?: Error | null) => void): void {
  const wire = wires.get(socket);
  if (wire === undefined || message.length < MASKED_IN_PLACE_BYTES) return socket.send(message, done);
  const key = nextMaskKey();
  const header = frameHeader(message.length, key);
  mask(message, key);
  wire.cork();
  wire.write(header);
  wire.write(message, done);
  wire.uncork();
}

/** RFC 6455, section 5.2. */
function frameHeader(length: number, key: Uint8Array): Buffer {
  const isLong = length > 0xffff;
  const header = Buffer.allocUnsafe(isLong ? 14 : 8);
  header[0] = BINARY_WHOLE;
  header[1] = MASKED | (isLong ? LENGTH_64 : LENGTH_16);
  if (isLong) header.writeBigUInt64BE(BigInt(length), 2);
  else header.writeUInt16BE(length, 2);
  header.set(key, header.length - key.length);
  return header;
}
