import { HOP_BY_HOP, WEBSOCKET_HANDSHAKE } from "../../policy/hop-by-hop.ts";
import type { HeaderList } from "../../protocol/tunnel/session.ts";
import { err, ok, type Result } from "../../shared/result.ts";

export interface RequestHeaders {
  /** Order and duplicates kept. */
  readonly list: HeaderList;
  /** Of the body that follows; null when it is not known. */
  readonly contentLength: number | null;
}

/** Length and first letter of each name that is looked at: nearly all others are passed on for a look at those, without a copy in lower case. */
const shapeOf = (name: string): number => (Math.min(name.length, 31) << 5) | (name.charCodeAt(0) & 31);
const SPECIAL = new Uint8Array(32 * 32);
for (const name of [...HOP_BY_HOP, ...WEBSOCKET_HANDSHAKE, "host", "expect", "content-length"])
  SPECIAL[shapeOf(name)] = 1;
const isSpecial = (name: string): boolean => SPECIAL[shapeOf(name)] === 1;

/**
 * A request's fields for the target: without those of the hop, without Host (a target's setting says which one it gets), without Expect
 * (the answer to it was given at the edge). Two different lengths, or a length that is none, are how requests are smuggled.
 */
export function targetRequestHeaders(headers: HeaderList): Result<RequestHeaders, string> {
  const listed = connectionListed(headers);
  const list: (readonly [string, string])[] = [];
  let contentLength: number | null = null;
  for (const field of headers) {
    const [name, value] = field;
    if (listed === null && !isSpecial(name)) {
      list.push(field);
      continue;
    }
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || WEBSOCKET_HANDSHAKE.has(lower) || listed?.has(lower) === true) continue;
    if (lower === "host" || lower === "expect") continue;
    if (lower === "content-length") {
      if (!/^[0-9]{1,15}$/.test(value)) return err("the content-length is not a number");
      if (contentLength !== null && contentLength !== Number(value)) return err("two different content-lengths");
      contentLength = Number(value);
      continue;
    }
    list.push(field);
  }
  return ok({ list, contentLength });
}

/** An answer's fields for the visitor: without those of the hop. */
export function targetResponseHeaders(headers: HeaderList): HeaderList {
  const listed = connectionListed(headers);
  const kept: (readonly [string, string])[] = [];
  for (const field of headers) {
    if (listed === null && !isSpecial(field[0])) {
      kept.push(field);
      continue;
    }
    const lower = field[0].toLowerCase();
    if (HOP_BY_HOP.has(lower) || WEBSOCKET_HANDSHAKE.has(lower) || listed?.has(lower) === true) continue;
    kept.push(field);
  }
  return kept;
}

/** Name, value, name, value: as Node and undici give them, in bytes (latin1) or text. */
export function headerPairs(raw: readonly (Uint8Array | string)[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) pairs.push([latin1(raw[i]), latin1(raw[i + 1])]);
  return pairs;
}

/** Names that a Connection field lists and that are not gone anyway; null for none, which is the usual case. */
function connectionListed(headers: HeaderList): Set<string> | null {
  let listed: Set<string> | null = null;
  for (const [name, value] of headers) {
    if (name.length === 10 && name.toLowerCase() === "connection") listed = addListed(listed, value);
  }
  return listed;
}

function addListed(into: Set<string> | null, value: string): Set<string> | null {
  let listed = into;
  for (const token of value.toLowerCase().split(",")) {
    const name = token.trim();
    if (name !== "close" && !HOP_BY_HOP.has(name)) (listed ??= new Set()).add(name);
  }
  return listed;
}

const latin1 = (value: Uint8Array | string | undefined): string =>
  value === undefined
    ? ""
    : typeof value === "string"
      ? value
      : Buffer.from(value.buffer, value.byteOffset, value.length).toString("latin1");

/** Values of a field in order; `name` in lower case, the field's in any. */
export function valuesOf(headers: HeaderList, name: string): string[] {
  const values: string[] = [];
  for (const [field, value] of headers)
    if (field.length === name.length && field.toLowerCase() === name) values.push(value);
  return values;
}
