import { HOP_BY_HOP, WEBSOCKET_HANDSHAKE } from "../../policy/hop-by-hop.ts";
import type { HeaderList } from "../../protocol/tunnel/session.ts";
import { err, ok, type Result } from "../../shared/result.ts";

export interface RequestHeaders {
  /** Order and duplicates kept. */
  readonly list: HeaderList;
  /** Of the body that follows; null when it is not known. */
  readonly contentLength: number | null;
}

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

function connectionListed(headers: HeaderList): Set<string> | null {
  let listed: Set<string> | null = null;
  for (const [name, value] of headers) {
    if (name.length === 10 && name.toLowerCase() === "connection") listed = addListed(listed, value);
  }
  return listed;
}

function addListed(into: Set<string> | null, value: string): Set<string> {
  const listed = into ?? new Set<string>();
  for (const token of value.split(",")) listed.add(token.trim().toLowerCase());
  return listed;
}

const latin1 = (value: Uint8Array | string | undefined): string =>
  value === undefined
    ? ""
    : typeof value === "string"
      ? value
      : Buffer.from(value.buffer, value.byteOffset, value.length).toString("latin1");

/** Values of a field in order, its name in any case. */
export const valuesOf = (headers: HeaderList, name: string): string[] =>
  headers.filter(([field]) => field.toLowerCase() === name).map(([, value]) => value);
