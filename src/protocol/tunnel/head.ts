import { readU16, readU32, writeU16, writeU32 } from "./frame.ts";
import { narrow, readLatin1, writeLatin1 } from "./latin1.ts";
import { HEAD_BYTES_MAX, HEAD_FIELDS_MAX, TARGET_BYTES_MAX, URGENCY_DEFAULT, URGENCY_MAX } from "./limits.ts";
import type { HeaderList, OpenRequest, ResponseHead } from "./types.ts";

/**
 * Heads on the wire: fixed numbers, then all lengths as u16, then all text as one latin1 blob. One read of the blob and slices of it cost
 * half of a list of fields (measured); there is no compression, so nothing of one tenant's request can be guessed from another's size.
 */
export type HeadError = { readonly reason: "malformed" | "not-sendable"; readonly text: string };
type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: HeadError };
type Encoded = { readonly ok: true; readonly payload: Uint8Array } | { readonly ok: false; readonly error: HeadError };

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/; // RFC 9110 section 5.6.2
const BROKEN_VALUE = /[\r\n\0]/;
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const BROKEN_PATH = /[\u0000-\u0020\u007f]/;
const OPEN_FIXED_BYTES = 9; // first-byte deadline u32, window u32, urgency u8
const STATUS_BYTES = 2;
const U16_MAX = 0xffff;

const malformed = (text: string): { ok: false; error: HeadError } => ({
  ok: false,
  error: { reason: "malformed", text },
});
const notSendable = (text: string): { ok: false; error: HeadError } => ({
  ok: false,
  error: { reason: "not-sendable", text },
});

/** Payload of OPEN. `windowBytes` is the opener's receive window for this stream. The flags END and UPGRADE are the caller's. */
export function encodeOpen(request: OpenRequest, windowBytes: number): Encoded {
  const { target, method, path, headers, deadlineMs, urgency } = request;
  if (target.length === 0 || target.length > TARGET_BYTES_MAX)
    return notSendable("the target's name has a wrong length");
  if (!TOKEN.test(method)) return notSendable("the method is not a token");
  if (!path.startsWith("/") || BROKEN_PATH.test(path)) return notSendable("the path is not sendable");
  const encoded = encodeTexts(OPEN_FIXED_BYTES, [target, method, path], headers);
  if (encoded.ok) {
    writeU32(encoded.payload, 0, Math.min(Math.max(Math.ceil(deadlineMs), 0), 0xffffffff));
    writeU32(encoded.payload, 4, windowBytes);
    encoded.payload[8] = knownUrgency(urgency);
  }
  return encoded;
}

/** What is no urgency counts as none said, as RFC 9218 has it. */
export const knownUrgency = (value: number): number =>
  Number.isInteger(value) && value >= 0 && value <= URGENCY_MAX ? value : URGENCY_DEFAULT;

export interface DecodedOpen extends Omit<OpenRequest, "end" | "upgrade"> {
  readonly windowBytes: number;
}

export function decodeOpen(payload: Uint8Array): Decoded<DecodedOpen> {
  const texts = decodeTexts(payload, OPEN_FIXED_BYTES, 3);
  if (!texts.ok) return texts;
  const [target = "", method = "", path = ""] = texts.value.leading;
  if (target.length === 0 || target.length > TARGET_BYTES_MAX)
    return notSendable("the target's name has a wrong length");
  if (!TOKEN.test(method)) return notSendable("the method is not a token");
  if (!path.startsWith("/") || BROKEN_PATH.test(path)) return notSendable("the path is not valid");
  const wrong = wrongField(texts.value.headers);
  if (wrong !== null) return notSendable(wrong);
  const value = {
    target,
    method,
    path,
    headers: texts.value.headers,
    deadlineMs: readU32(payload, 0),
    windowBytes: readU32(payload, 4),
    urgency: knownUrgency(payload[8] ?? URGENCY_DEFAULT),
  };
  return { ok: true, value };
}

/** Payload of HEADERS. */
export function encodeResponse(head: ResponseHead): Encoded {
  if (!Number.isInteger(head.status) || head.status < 100 || head.status > 599)
    return notSendable(`status ${head.status}`);
  const encoded = encodeTexts(STATUS_BYTES, [], head.headers);
  if (encoded.ok) writeU16(encoded.payload, 0, head.status);
  return encoded;
}

export function decodeResponse(payload: Uint8Array): Decoded<ResponseHead> {
  const texts = decodeTexts(payload, STATUS_BYTES, 0);
  if (!texts.ok) return texts;
  const status = readU16(payload, 0);
  if (status < 100 || status > 599) return notSendable(`status ${status}`);
  const wrong = wrongField(texts.value.headers);
  return wrong === null ? { ok: true, value: { status, headers: texts.value.headers } } : notSendable(wrong);
}

/** Payload of TRAILERS. */
export const encodeTrailers = (trailers: HeaderList): Encoded => encodeTexts(0, [], trailers);

export function decodeTrailers(payload: Uint8Array): Decoded<HeaderList> {
  const texts = decodeTexts(payload, 0, 0);
  if (!texts.ok) return texts;
  const wrong = wrongField(texts.value.headers);
  return wrong === null ? { ok: true, value: texts.value.headers } : notSendable(wrong);
}

/** `[fixed][field count u16][length u16 of each leading text][name, value lengths u16 ...][blob]`; the caller fills the fixed part. */
function encodeTexts(fixedBytes: number, leading: readonly string[], headers: HeaderList): Encoded {
  if (headers.length > HEAD_FIELDS_MAX) return notSendable("too many header fields");
  const wrong = wrongField(headers);
  if (wrong !== null) return notSendable(wrong);
  const texts: string[] = [];
  let blobBytes = 0;
  const add = (text: string): void => {
    const sendable = narrow(text);
    texts.push(sendable);
    blobBytes += sendable.length;
  };
  for (const text of leading) add(text);
  for (const [name, value] of headers) {
    add(name);
    add(value);
  }
  const bytes = fixedBytes + 2 + 2 * texts.length + blobBytes;
  if (bytes > HEAD_BYTES_MAX) return notSendable("the head is too long");
  const payload = new Uint8Array(bytes);
  writeU16(payload, fixedBytes, headers.length);
  let at = fixedBytes + 2;
  for (const text of texts) {
    if (text.length > U16_MAX) return notSendable("a header value is too long");
    writeU16(payload, at, text.length);
    at += 2;
  }
  writeLatin1(payload, at, texts.join(""));
  return { ok: true, payload };
}

function decodeTexts(
  payload: Uint8Array,
  fixedBytes: number,
  leadingCount: number,
): Decoded<{ leading: string[]; headers: [string, string][] }> {
  if (payload.length > HEAD_BYTES_MAX) return malformed("the head is too long");
  if (payload.length < fixedBytes + 2) return malformed("the head is too short");
  const fields = readU16(payload, fixedBytes);
  if (fields > HEAD_FIELDS_MAX) return malformed("too many header fields");
  const count = leadingCount + 2 * fields;
  const table = fixedBytes + 2;
  const blobStart = table + 2 * count;
  if (payload.length < blobStart) return malformed("the head is too short");
  let end = 0;
  for (let i = 0; i < count; i++) end += readU16(payload, table + 2 * i);
  if (payload.length !== blobStart + end) return malformed("the head's lengths don't add up");
  const blob = readLatin1(payload, blobStart, payload.length);
  let at = 0;
  let index = 0;
  const next = (): string => {
    const start = at;
    at += readU16(payload, table + 2 * index++);
    return blob.slice(start, at);
  };
  const leading: string[] = [];
  for (let i = 0; i < leadingCount; i++) leading.push(next());
  const headers: [string, string][] = [];
  for (let i = 0; i < fields; i++) headers.push([next(), next()]);
  return { ok: true, value: { leading, headers } };
}

function wrongField(headers: HeaderList): string | null {
  for (const [name, value] of headers) {
    if (!TOKEN.test(name)) return "a header's name is not a token";
    if (BROKEN_VALUE.test(value)) return `header ${name} has a line break or NUL in its value`;
  }
  return null;
}
