/**
 * What the edge says to a lane about a visitor's request, in one header (`causeway-visit`): the request itself goes on as it came, and the
 * lane cleans it (policy/headers.ts) while it copies it into the tunnel anyway. A lane trusts it, since only the edge reaches lanes.
 * The fields of a request without a body travel inside that header, too: to copy a request and to read it field by field are calls of the
 * runtime, which cost more than all that either side does with them.
 */
export interface LaneVisit {
  readonly requestId: string;
  readonly target: string;
  /** What the edge cut off the path, "" for nothing: X-Forwarded-Prefix. */
  readonly prefix: string;
  /** Path and query for the target, still encoded. */
  readonly path: string;
  /** As the visitor typed it, with port. */
  readonly host: string;
  readonly scheme: "http" | "https";
  /** Null, and "" on the way: unknown. */
  readonly clientAddress: string | null;
  readonly traceparent: string;
  /** Cookies never cross the relay host, which all tenants share. */
  readonly withoutCookies: boolean;
  /** 0 (first) to 7 (RFC 9218). */
  readonly urgency: number;
  /** Of the route, in whole milliseconds; null: the tenant's or the lane's. */
  readonly firstByteMs: number | null;
  readonly idleMs: number | null;
  readonly totalMs: number | null;
  /** The visitor asked by `/trace/`: the answer names connector, instance, versions and timings. */
  readonly trace: boolean;
  /** Who the visitor is, in headers of ours for the target (identity.ts); values are visible ASCII. Absent: nobody in particular. */
  readonly identity?: VisitorFields;
}

/** Longest value on the way, in characters: path and prefix of 16 KiB as platforms take them, with room for the escapes of a few. */
export const VISIT_MAX_CHARACTERS = 32 * 1024;

/** The same with the visitor's fields in it: what does not fit goes as it came. */
export const CARRIED_MAX_CHARACTERS = 64 * 1024;

/** As they came; names in lower case. */
export type VisitorFields = readonly (readonly [name: string, value: string])[];

/** Of those that are always there. */
const FIELDS = 12;
const NO_IDENTITY: VisitorFields = [];
const HTTPS = 1;
const WITHOUT_COOKIES = 2;
const TRACE = 4;

/**
 * The header's value: fields in a fixed order with one blank between them, then the path, then `name=value` for each header that says who
 * the visitor is. Everything but visible ASCII, and the backslash, is
 * written as `\uXXXX`, so a value is never ambiguous and passes as a header. Null: longer than VISIT_MAX_CHARACTERS, or not such a visit.
 */
export function encodeVisit(visit: LaneVisit): string | null {
  const { firstByteMs, idleMs, totalMs } = visit;
  const flags =
    (visit.scheme === "https" ? HTTPS : 0) | (visit.withoutCookies ? WITHOUT_COOKIES : 0) | (visit.trace ? TRACE : 0);
  const text =
    `${visit.urgency}${flags} ${firstByteMs ?? ""} ${idleMs ?? ""} ${totalMs ?? ""} ${visit.requestId} ${visit.target} ` +
    `${visit.traceparent} ${visible(visit.host)} ${visible(visit.clientAddress ?? "")} ${visible(visit.prefix)} v1 ` +
    visible(visit.path) +
    (visit.identity === undefined ? "" : identityText(visit.identity));
  return text.length > VISIT_MAX_CHARACTERS ? null : text;
}

/**
 * A value of `encodeVisit` with the visitor's fields behind it: the lengths of names and values, then all of them in one piece. Null: longer
 * than CARRIED_MAX_CHARACTERS.
 */
export function withFields(said: string, fields: VisitorFields): string | null {
  if (fields.length === 0) return said;
  let lengths = "";
  let texts = "";
  for (const [name, value] of fields) {
    const text = printable(value);
    lengths += `${name.length} ${text.length} `;
    texts += name + text;
  }
  const carried = `${said}${BETWEEN}${lengths}${BETWEEN}${texts}${LAST}`;
  return carried.length > CARRIED_MAX_CHARACTERS ? null : carried;
}

/** What a header's value says. `fields`: null when they are those of the request itself. */
export interface Carried {
  readonly visit: LaneVisit;
  readonly fields: VisitorFields | null;
}

/** Null: not a value of `encodeVisit` or `withFields`. */
export function decodeCarried(text: string): Carried | null {
  const lengthsAt = text.indexOf(BETWEEN);
  const visit = decodeVisit(lengthsAt === -1 ? text : text.slice(0, lengthsAt));
  if (visit === null || lengthsAt === -1) return visit === null ? null : { visit, fields: null };
  if (text.length > CARRIED_MAX_CHARACTERS) return null;
  const textsAt = text.indexOf(BETWEEN, lengthsAt + 1);
  if (textsAt === -1) return null;
  const lengths = text.slice(lengthsAt + 1, textsAt).split(" ");
  const escaped = text.includes("\\", textsAt);
  const fields: [string, string][] = [];
  let at = textsAt + 1;
  const take = (length: string | undefined): string => {
    const end = at + Number(length);
    const taken = text.slice(at, end);
    at = end;
    return taken;
  };
  for (let i = 0; i + 1 < lengths.length; i += 2) {
    const name = take(lengths[i]);
    const value = take(lengths[i + 1]);
    fields.push([name, escaped ? plain(value) : value]);
  }
  return at === text.length - LAST.length && text.endsWith(LAST) ? { visit, fields } : null;
}

/** Never in what `visible` and `printable` give. */
const BETWEEN = "\t";
/** A header loses blanks at its end, and a field may end with one: the runtime joins two of a name, and the second may be empty. */
const LAST = ".";

const identityText = (identity: VisitorFields): string =>
  identity.map(([name, value]) => ` ${name}=${visible(value)}`).join("");

/** Null: one of them is no `name=value`. */
function identityOf(texts: readonly string[]): VisitorFields | null {
  const identity: [string, string][] = [];
  for (const text of texts) {
    const at = text.indexOf("=");
    if (at < 1) return null;
    identity.push([text.slice(0, at), plain(text.slice(at + 1))]);
  }
  return identity;
}

/** Null: not a value of `encodeVisit`. */
export function decodeVisit(text: string): LaneVisit | null {
  if (text.length > VISIT_MAX_CHARACTERS) return null;
  const fields = text.split(" ");
  const [head, firstByte, idle, total, requestId, target, traceparent, host, address, prefix, version, path] = fields;
  if (fields.length < FIELDS || version !== "v1") return null;
  const identity = fields.length === FIELDS ? NO_IDENTITY : identityOf(fields.slice(FIELDS));
  if (identity === null) return null;
  if (head?.length !== 2 || !requestId || !target || !traceparent || !host || !path?.startsWith("/")) return null;
  const urgency = digit(head, 0);
  const flags = digit(head, 1);
  const firstByteMs = milliseconds(firstByte);
  const idleMs = milliseconds(idle);
  const totalMs = milliseconds(total);
  if (
    urgency === null ||
    flags === null ||
    firstByteMs === undefined ||
    idleMs === undefined ||
    totalMs === undefined
  ) {
    return null;
  }
  const escaped = text.includes("\\");
  return {
    requestId,
    target,
    prefix: escaped ? plain(prefix ?? "") : (prefix ?? ""),
    path: escaped ? plain(path) : path,
    host: escaped ? plain(host) : host,
    scheme: (flags & HTTPS) === 0 ? "http" : "https",
    clientAddress: address === "" ? null : plain(address ?? ""),
    traceparent,
    withoutCookies: (flags & WITHOUT_COOKIES) !== 0,
    urgency,
    firstByteMs,
    idleMs,
    totalMs,
    trace: (flags & TRACE) !== 0,
    ...(identity.length > 0 && { identity }),
  };
}

/** Like `visible`, but blanks stay: values of fields are full of them. */
const printable = (text: string): string => (UNPRINTABLE.test(text) ? text.replace(EVERY_UNPRINTABLE, escape) : text);
const UNPRINTABLE = /[^\x20-\x5b\x5d-\x7e]/;
const EVERY_UNPRINTABLE = /[^\x20-\x5b\x5d-\x7e]/g;

const ODD = /[^\x21-\x5b\x5d-\x7e]/;
const EVERY_ODD = /[^\x21-\x5b\x5d-\x7e]/g;
const EVERY_ESCAPE = /\\u([0-9a-f]{4})/g;

const escape = (odd: string): string => `\\u${odd.charCodeAt(0).toString(16).padStart(4, "0")}`;
const visible = (text: string): string => (ODD.test(text) ? text.replace(EVERY_ODD, escape) : text);

const plain = (text: string): string =>
  text.includes("\\") ? text.replace(EVERY_ESCAPE, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))) : text;

/** A digit from 0 to 7, the range of urgencies and of the flags. */
function digit(text: string, at: number): number | null {
  const value = text.charCodeAt(at) - 48;
  return value >= 0 && value <= 7 ? value : null;
}

/** Null for "", undefined for what is no whole number. */
function milliseconds(text: string | undefined): number | null | undefined {
  if (text === "") return null;
  return text !== undefined && /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}
