import { HOP_BY_HOP, WEBSOCKET_HANDSHAKE } from "../../policy/hop-by-hop.ts";
import type { HeaderList } from "../../protocol/tunnel/session.ts";
import { err, ok, type Result } from "../../shared/result.ts";

export interface RequestHeaders {
  /** Name, value, name, value: as undici takes them. Order and duplicates kept. */
  readonly flat: string[];
  /** Of the body that follows; null when it is not known. */
  readonly contentLength: number | null;
}

/**
 * A request's fields for the target: without those of the hop, without Host (the target gets its own; X-Forwarded-Host has the visitor's),
 * without Expect (the answer to it was given at the edge). Two different lengths, or a length that is none, are how requests are smuggled.
 */
export function targetRequestHeaders(headers: HeaderList): Result<RequestHeaders, string> {
  const listed = connectionListed(headers);
  const flat: string[] = [];
  let contentLength: number | null = null;
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || WEBSOCKET_HANDSHAKE.has(lower) || listed?.has(lower) === true) continue;
    if (lower === "host" || lower === "expect") continue;
    if (lower === "content-length") {
      if (!/^[0-9]{1,15}$/.test(value)) return err("the content-length is not a number");
      if (contentLength !== null && contentLength !== Number(value)) return err("two different content-lengths");
      contentLength = Number(value);
      continue;
    }
    flat.push(name, value);
  }
  return ok({ flat, contentLength });
}

/** An answer's fields for the visitor, from undici's raw list (name, value, ... as bytes or text). */
export function targetResponseHeaders(raw: readonly (Uint8Array | string)[]): [string, string][] {
  const headers: [string, string][] = [];
  let listed: Set<string> | null = null;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = latin1(raw[i]);
    const lower = name.toLowerCase();
    const value = latin1(raw[i + 1]);
    if (lower === "connection") listed = addListed(listed, value);
    if (!HOP_BY_HOP.has(lower) && !WEBSOCKET_HANDSHAKE.has(lower)) headers.push([name, value]);
  }
  if (listed === null) return headers;
  const perConnection = listed;
  return headers.filter(([name]) => !perConnection.has(name.toLowerCase()));
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
