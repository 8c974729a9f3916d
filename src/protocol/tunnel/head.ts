import { readU16, readU32, writeU16, writeU32 } from "./frame.ts";
import { narrow, readLatin1, unwritten, writeLatin1 } from "./latin1.ts";
import { HEAD_BYTES_MAX, HEAD_FIELDS_MAX, TARGET_BYTES_MAX, URGENCY_DEFAULT, URGENCY_MAX } from "./limits.ts";
import type { HeaderList, OpenRequest, ResponseHead } from "./types.ts";

/**
 * Heads on the wire: fixed numbers, then all lengths as u16, then all text as one latin1 blob. One read of the blob and slices of it cost
 * half of a list of fields (measured); there is no compression, so nothing of one tenant's request can be guessed from another's size.
 */
export type HeadError = { readonly reason: "malformed" | "not-sendable"; readonly text: string };
type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: HeadError };
type Encoded = { readonly ok: true; readonly payload: Uint8Array } | { readonly ok: false; readonly error: HeadError };

/** RFC 9110 section 5.6.2: 1 at the code of each character of a token. */
const TOKEN_CHARACTERS = new Uint8Array(128);
for (const character of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
  TOKEN_CHARACTERS[character.charCodeAt(0)] = 1;
const BROKEN_VALUE = /[\r\n\0]/;
/** What no value may have, and what goes as UTF-8. */
const UNUSUAL = /[\r\n\0\u0100-\uffff]/;
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
  if (!isToken(method)) return notSendable("the method is not a token");
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
  if (!isToken(method)) return notSendable("the method is not a token");
  if (!path.startsWith("/") || BROKEN_PATH.test(path)) return notSendable("the path is not valid");
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
  return { ok: true, value: { status, headers: texts.value.headers } };
}

/** Payload of TRAILERS. */
export const encodeTrailers = (trailers: HeaderList): Encoded => encodeTexts(0, [], trailers);

export function decodeTrailers(payload: Uint8Array): Decoded<HeaderList> {
  const texts = decodeTexts(payload, 0, 0);
  return texts.ok ? { ok: true, value: texts.value.headers } : texts;
}

/** `[fixed][field count u16][length u16 of each leading text][name, value lengths u16 ...][blob]`; the caller fills the fixed part. */
function encodeTexts(fixedBytes: number, leading: readonly string[], headers: HeaderList): Encoded {
  if (headers.length > HEAD_FIELDS_MAX) return notSendable("too many header fields");
  const texts = leading.slice();
  for (const [name, value] of headers) {
    if (!isToken(name)) return notSendable("a header's name is not a token");
    texts.push(name, value);
  }
  let blob = texts.join("");
  if (UNUSUAL.test(blob)) {
    // One look at all texts at once; only where it finds something are they looked at one by one.
    const wrong = wrongValue(headers);
    if (wrong !== null) return notSendable(wrong);
    for (let i = 0; i < texts.length; i++) texts[i] = narrow(texts[i] ?? "");
    blob = texts.join("");
  }
  const bytes = fixedBytes + 2 + 2 * texts.length + blob.length;
  if (bytes > HEAD_BYTES_MAX) return notSendable("the head is too long");
  const payload = unwritten(bytes);
  writeU16(payload, fixedBytes, headers.length);
  let at = fixedBytes + 2;
  for (const text of texts) {
    if (text.length > U16_MAX) return notSendable("a header value is too long");
    writeU16(payload, at, text.length);
    at += 2;
  }
  writeLatin1(payload, at, blob);
  return { ok: true, payload };
}

interface Texts {
  readonly leading: string[];
  readonly headers: [string, string][];
}

function decodeTexts(payload: Uint8Array, fixedBytes: number, leadingCount: number): Decoded<Texts> {
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
  let length = table;
  const leading: string[] = [];
  for (let i = 0; i < leadingCount; i++) {
    const start = at;
    at += readU16(payload, length);
    length += 2;
    leading.push(blob.slice(start, at));
  }
  const headers: [string, string][] = [];
  for (let i = 0; i < fields; i++) {
    const start = at;
    const middle = start + readU16(payload, length);
    at = middle + readU16(payload, length + 2);
    length += 4;
    const name = nameIn(blob, start, middle);
    if (name === null) return notSendable("a header's name is not a token");
    headers.push([name, blob.slice(middle, at)]);
  }
  const wrong = BROKEN_VALUE.test(blob) ? wrongValue(headers) : null;
  return wrong === null ? { ok: true, value: { leading, headers } } : notSendable(wrong);
}

function wrongValue(headers: HeaderList): string | null {
  for (const [name, value] of headers)
    if (BROKEN_VALUE.test(value)) return `header ${name} has a line break or NUL in its value`;
  return null;
}

/** Names that came lately, by what they look like. Nearly every name has come before: then it needs no text of its own, no check and no new hash. */
const NAME_SLOTS = 512;
const NAME_LENGTH_MAX = 64;
const lately: string[] = Array.from({ length: NAME_SLOTS }, () => "");

/** Null: not a token. */
function nameIn(blob: string, start: number, end: number): string | null {
  const length = end - start;
  const slot = (length * 33 + blob.charCodeAt(start) * 7 + blob.charCodeAt(end - 1)) % NAME_SLOTS;
  const last = lately[slot];
  if (last !== undefined && last.length === length && length > 0 && blob.startsWith(last, start)) return last;
  const name = blob.slice(start, end);
  if (!isToken(name)) return null;
  // As a key it is a text of its own; a slice would keep the whole head.
  if (length <= NAME_LENGTH_MAX) lately[slot] = Object.keys({ [name]: 0 })[0] ?? "";
  return name;
}

/** A loop over a table: half of what a regular expression takes for a name. */
function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (TOKEN_CHARACTERS[text.charCodeAt(i)] !== 1) return false;
  return text.length > 0;
}
