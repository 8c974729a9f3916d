/**
 * Header text on the wire is one byte a character. Text with characters above 0xff goes as its UTF-8 octets, one character each, which is
 * what an HTTP/1.1 peer would have seen.
 */
interface NativeView {
  toString(encoding: "latin1", start: number, end: number): string;
  write(text: string, offset: number, encoding: "latin1"): number;
}
interface NativeBuffer {
  allocUnsafe(bytes: number): Uint8Array;
  from(buffer: ArrayBufferLike, byteOffset: number, length: number): NativeView;
}

// Both hosts have Buffer (Workers by nodejs_compat); the protocol itself needs only what every platform has.
const hasBuffer = (host: object): host is { Buffer: NativeBuffer } => "Buffer" in host;
const native = hasBuffer(globalThis) ? globalThis.Buffer : undefined;
const utf8 = new TextEncoder();
const WIDE = /[\u0100-\uffff]/;
const SLICE = 8192; // arguments of one fromCharCode call; engines allow at least this many

const octets = (text: string): string => fromBytes(utf8.encode(text));

/** The text as it will be sent, so that its length is the number of bytes. */
export const narrow = (text: string): string => (WIDE.test(text) ? octets(text) : text);

/** Memory of which every byte will be written: a piece of the platform's pool where it has one, a third of the cost of an array of its own. */
export const unwritten = (bytes: number): Uint8Array => native?.allocUnsafe(bytes) ?? new Uint8Array(bytes);

/** `text` must be narrow. Writes it at `at`. */
export function writeLatin1(into: Uint8Array, at: number, text: string): void {
  if (native !== undefined && text.length > 32) {
    native.from(into.buffer, into.byteOffset, into.byteLength).write(text, at, "latin1");
    return;
  }
  for (let i = 0; i < text.length; i++) into[at + i] = text.charCodeAt(i);
}

export function readLatin1(bytes: Uint8Array, start: number, end: number): string {
  if (native !== undefined)
    return native.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1", start, end);
  return fromBytes(bytes.subarray(start, end));
}

function fromBytes(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += SLICE) text += String.fromCharCode(...bytes.subarray(i, i + SLICE));
  return text;
}
