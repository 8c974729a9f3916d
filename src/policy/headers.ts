import { HEADER } from "../protocol/headers.ts";
import type { LaneVisit } from "../protocol/visit.ts";
import { asReadByCgi, requestRule, responseRule } from "./header-names.ts";
import { HOP_BY_HOP } from "./hop-by-hop.ts";

/**
 * Header hygiene at the edge. Trust rule for inbound forwarding headers: none is believed. The visitor's address comes from the platform
 * in front of us, host and scheme from the request itself; X-Forwarded-* and Forwarded are written anew.
 */
export interface Forwarding {
  /** Host as the visitor typed it, with port if there was one: services build URLs from it. */
  readonly hostWithPort: string;
  readonly scheme: "http" | "https";
  /** Null when the platform does not tell (direct sockets in tests). */
  readonly clientAddress: string | null;
  readonly requestId: string;
  /** Valid W3C traceparent that goes on. */
  readonly traceparent: string;
  /** The handshake of a WebSocket goes on as headers. */
  readonly webSocket: boolean;
  /** What was cut off the path. Default: "". */
  readonly prefix?: string;
  /** Default: false. */
  readonly withoutCookies?: boolean;
  /** Who the visitor is, in headers of ours (protocol/headers.ts). Default: none. */
  readonly identity?: readonly (readonly [name: string, value: string])[];
}

/** Names of cookies that belong to the edge: services neither see nor set them. */
export const SESSION_COOKIE = { secure: "__Host-causeway", loopback: "causeway" } as const;
const isOwnCookie = (name: string): boolean => /^(?:__Host-)?causeway(?:-|$)/.test(name);

/** Fields as pairs, in the order in which they came; names in any case. */
type Fields = Iterable<readonly [name: string, value: string]>;

/**
 * A visitor's fields for the next hop, in one pass; names keep the case that they came in, new ones are in lower case. `Host` and the framing
 * are the next hop's own: Host is dropped, Content-Length stays.
 */
export function forwardedFields(fields: Fields, forwarding: Forwarding): [name: string, value: string][] {
  const out: [string, string][] = [];
  let perConnection: Set<string> | null = null;
  let traceparent: string | null = null;
  let tracestate: [string, string][] | null = null;
  let hasAcceptEncoding = false;
  for (const [name, value] of fields) {
    switch (requestRule(name)) {
      case "pass":
        out.push([name, value]);
        break;
      case "drop":
        break;
      case "connection":
        perConnection = listedIn(value, perConnection);
        break;
      case "websocket":
        if (forwarding.webSocket) out.push([name, value]);
        break;
      case "cookie": {
        const cookie = forwarding.withoutCookies === true ? null : withoutOwnCookies(value);
        if (cookie !== null) out.push([name, cookie]);
        break;
      }
      case "accept-encoding":
        hasAcceptEncoding = true;
        out.push([name, value]);
        break;
      case "authorization":
        if (!isServiceToken(value)) out.push([name, value]);
        break;
      case "traceparent":
        // Two of them are no trace at all.
        traceparent = traceparent === null ? value : "";
        break;
      case "tracestate":
        (tracestate ??= []).push([name, value]);
    }
  }
  const kept = perConnection === null ? out : withoutListed(out, perConnection);
  // Left out, the runtime would ask for compression that the visitor may not understand.
  if (!hasAcceptEncoding) kept.push(["accept-encoding", "identity"]);
  kept.push(...writtenFields(forwarding));
  // A state without the parent that it belongs to means nothing (W3C Trace Context, section 3.3).
  if (tracestate !== null && isOfTrace(traceparent, forwarding)) kept.push(...tracestate);
  return kept;
}

/** Whether what came is of the trace that goes on; its span may be one of ours by now. */
const isOfTrace = (traceparent: string | null, forwarding: Forwarding): boolean =>
  traceparent !== null &&
  traceparent.length === forwarding.traceparent.length &&
  traceparent.slice(0, TRACE_LENGTH) === forwarding.traceparent.slice(0, TRACE_LENGTH);
/** Version and trace id. */
const TRACE_LENGTH = 35;

/** What we say ourselves, in place of whatever came. */
function writtenFields(forwarding: Forwarding): [name: string, value: string][] {
  const { hostWithPort, scheme, clientAddress, prefix = "" } = forwarding;
  const fields: [string, string][] = [
    ["x-forwarded-host", hostWithPort],
    ["x-forwarded-proto", scheme],
    ["x-forwarded-port", portOf(hostWithPort) ?? (scheme === "https" ? "443" : "80")],
    ["forwarded", forwardedHeader(forwarding)],
    [HEADER.requestId, forwarding.requestId],
    ["traceparent", forwarding.traceparent],
  ];
  if (clientAddress !== null) fields.push(["x-forwarded-for", clientAddress]);
  if (prefix !== "") fields.push(["x-forwarded-prefix", prefix]);
  for (const [name, value] of forwarding.identity ?? []) fields.push([name, value]);
  if (forwarding.webSocket) fields.push(["connection", "Upgrade"], ["upgrade", "websocket"]);
  return fields;
}

/**
 * `forwardedFields` for a runtime that copies Headers far faster than we copy fields: `headers` is a copy of the visitor's, and is made what
 * the next hop gets.
 */
export function forwardHeaders(headers: Headers, forwarding: Forwarding): void {
  const kept = dropHeaders(headers, (name) => {
    switch (requestRule(name)) {
      case "drop":
      case "connection":
        return true;
      case "websocket":
        return !forwarding.webSocket;
      case "tracestate":
        return !isOfTrace(headers.get("traceparent"), forwarding);
      case "cookie":
        return !keepOtherCookies(headers, forwarding);
      case "authorization":
        return isServiceToken(headers.get(name) ?? "");
      case "pass":
      case "traceparent":
      case "accept-encoding":
    }
    return false;
  });
  if (!kept.includes("accept-encoding")) headers.set("accept-encoding", "identity");
  for (const [name, value] of writtenFields(forwarding)) headers.set(name, value);
}

/** Removes the fields that `isDropped` names, and those that `Connection` lists. Names of what is left; each look at `headers` is dear. */
function dropHeaders(headers: Headers, isDropped: (name: string) => boolean): string[] {
  const names = [...headers.keys()]; // they change on the way
  const connection = names.includes("connection") ? headers.get("connection") : null;
  const listed = connection === null ? null : listedIn(connection, null);
  return names.filter((name) => {
    const isKept = !isDropped(name) && (listed === null || !isListed(name, listed));
    if (!isKept) headers.delete(name);
    return isKept;
  });
}

/** False: nothing is left of them. */
function keepOtherCookies(headers: Headers, { withoutCookies }: Forwarding): boolean {
  if (withoutCookies === true) return false;
  const sent = headers.get("cookie");
  const kept = withoutOwnCookies(sent);
  if (kept === null) return false;
  if (kept !== sent) headers.set("cookie", kept);
  return true;
}

/** How a lane's visitor (protocol/visit.ts) is forwarded: into the tunnel, where a WebSocket's handshake is no header. */
export const forwardingOf = (visit: LaneVisit): Forwarding => ({
  hostWithPort: visit.host,
  scheme: visit.scheme,
  clientAddress: visit.clientAddress,
  requestId: visit.requestId,
  traceparent: visit.traceparent,
  webSocket: false,
  prefix: visit.prefix,
  withoutCookies: visit.withoutCookies,
  ...(visit.identity !== undefined && { identity: visit.identity }),
});

/** What service tokens begin with; whoever finds one in a log or a repository knows whose it is. */
export const SERVICE_TOKEN_PREFIX = "cst_";

/** A service token is for the edge: it goes no further. */
const isServiceToken = (authorization: string): boolean => serviceTokenIn(authorization) !== null;

/** The service token in an Authorization field, or null. */
export function serviceTokenIn(authorization: string | null): string | null {
  const [, token] = /^bearer +(\S+) *$/i.exec(authorization ?? "") ?? [];
  return token !== undefined && token.startsWith(SERVICE_TOKEN_PREFIX) ? token : null;
}

/** Digits behind the last colon. */
function portOf(hostWithPort: string): string | null {
  const at = hostWithPort.lastIndexOf(":");
  const port = at === -1 ? "" : hostWithPort.slice(at + 1);
  return port !== "" && /^[0-9]+$/.test(port) ? port : null;
}

/** Names that a Connection field lists and that are not gone anyway; null for none, which is the usual case. */
function listedIn(connection: string, found: Set<string> | null): Set<string> | null {
  let names = found;
  for (const token of connection.toLowerCase().split(",")) {
    const name = token.trim();
    if (name !== "" && name !== "close" && !HOP_BY_HOP.has(name)) (names ??= new Set()).add(name);
  }
  return names;
}

const withoutListed = (fields: [string, string][], listed: ReadonlySet<string>): [string, string][] =>
  fields.filter(([name]) => !isListed(name.toLowerCase(), listed));

const isListed = (lowerCaseName: string, listed: ReadonlySet<string>): boolean =>
  listed.has(lowerCaseName) || listed.has(asReadByCgi(lowerCaseName));

/** RFC 7239: an address with colons is quoted and bracketed, an absent one is `unknown`. */
function forwardedHeader({ clientAddress, hostWithPort, scheme }: Forwarding): string {
  const node =
    clientAddress === null ? "unknown" : clientAddress.includes(":") ? `"[${clientAddress}]"` : clientAddress;
  return `for=${node};host="${hostWithPort}";proto=${scheme}`;
}

export interface Returning {
  readonly requestId: string;
  /** The answer to a handshake that this hop takes part in. Default: false. */
  readonly webSocket?: boolean;
  /** The answer crosses a host that tenants share. Default: false. */
  readonly withoutCookies?: boolean;
}

/** Fields of an answer on its way to the visitor, in one pass. */
export function returnedFields(fields: Fields, returning: Returning): [name: string, value: string][] {
  const { requestId, webSocket = false, withoutCookies = false } = returning;
  const out: [string, string][] = [];
  let perConnection: Set<string> | null = null;
  const singles: string[] = [];
  for (const [name, value] of fields) {
    switch (responseRule(name)) {
      case "pass":
        out.push([name, value]);
        break;
      case "drop":
        break;
      case "connection":
        perConnection = listedIn(value, perConnection);
        break;
      case "websocket":
        if (webSocket) out.push([name, value]);
        break;
      case "cookie":
        if (!withoutCookies && !setsOwnCookie(value)) out.push([name, value]);
        break;
      case "single": {
        const lower = name.toLowerCase();
        if (singles.includes(lower)) break;
        singles.push(lower);
        out.push([name, firstValue(value)]);
      }
    }
  }
  const kept = perConnection === null ? out : withoutListed(out, perConnection);
  kept.push([HEADER.requestId, requestId]);
  return kept;
}

/** `returnedFields` for a runtime that copies Headers by itself: `headers` is a copy of the answer's, and is made what the visitor gets. */
export function returnHeaders(headers: Headers, returning: Returning): void {
  dropHeaders(headers, (name) => {
    switch (responseRule(name)) {
      case "drop":
      case "connection":
        return true;
      case "websocket":
        return returning.webSocket !== true;
      case "single":
        headers.set(name, firstValue(headers.get(name) ?? ""));
        break;
      case "cookie":
        return !keepOtherSetCookies(headers, returning);
      case "pass":
    }
    return false;
  });
  headers.set(HEADER.requestId, returning.requestId);
}

/** False: nothing is left of them. */
function keepOtherSetCookies(headers: Headers, { withoutCookies }: Returning): boolean {
  if (withoutCookies === true) return false;
  const sent = headers.getSetCookie();
  const kept = sent.filter((cookie) => !setsOwnCookie(cookie));
  if (kept.length === sent.length) return true;
  headers.delete("set-cookie");
  for (const cookie of kept) headers.append("set-cookie", cookie);
  return kept.length > 0;
}

/** A cookie without a name is sent back as its value alone, which reads as a name again ("=causeway=x"; RFC 6265bis, section 5.7). */
const setsOwnCookie = (cookie: string): boolean => isOwnCookie(/^[\s=]*([^=;]*)/.exec(cookie)?.[1]?.trim() ?? "");
const firstValue = (value: string): string => value.split(",", 1)[0]?.trim() ?? "";

/** Value of the first cookie of that name in a Cookie header. */
export function readCookie(header: string | null, name: string): string | null {
  for (const [cookie, value] of cookies(header)) if (cookie === name) return value;
  return null;
}

export function cookieNames(header: string | null): string[] {
  return cookies(header).map(([name]) => name);
}

function withoutOwnCookies(header: string | null): string | null {
  if (header === null) return null;
  const kept = header.split(";").filter((pair) => !isOwnCookie(pair.split("=", 1)[0]?.trim() ?? ""));
  const value = kept.join(";").trim();
  return value === "" ? null : value;
}

function cookies(header: string | null): [name: string, value: string][] {
  return (header ?? "").split(";").flatMap((pair): [string, string][] => {
    const at = pair.indexOf("=");
    return at === -1 ? [] : [[pair.slice(0, at).trim(), pair.slice(at + 1).trim()]];
  });
}

/** Whether an upgrade to a WebSocket is asked for. Other protocols are not upgraded to (RFC 9110: the server may ignore it). */
export function isWebSocketUpgrade(method: string, headers: Headers): boolean {
  return method === "GET" && headers.get("upgrade")?.toLowerCase() === "websocket";
}

/** The inbound traceparent if it is valid (W3C Trace Context, version 00), otherwise a new one. `random` fills the array. */
export function continueTrace(inbound: string | null, random: (bytes: Uint8Array) => void): string {
  if (inbound !== null && isTraceparent(inbound)) return inbound;
  const bytes = new Uint8Array(24);
  random(bytes);
  let hex = "";
  for (const byte of bytes) hex += HEX[byte];
  return newTraceparent(hex);
}

export function isTraceparent(inbound: string): boolean {
  const [, trace, span] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(inbound) ?? [];
  return trace !== undefined && !/^0+$/.test(trace) && span !== undefined && !/^0+$/.test(span);
}

/** `hex`: 48 random digits. Not sampled. */
export const newTraceparent = (hex: string): string => `00-${hex.slice(0, 32)}-${hex.slice(32)}-00`;

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
