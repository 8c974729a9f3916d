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
      case "traceparent":
        // Two of them are no trace at all.
        traceparent = traceparent === null ? value : "";
        break;
      case "tracestate":
        (tracestate ??= []).push([name, value]);
    }
  }
  const kept = perConnection === null ? out : withoutListed(out, perConnection);
  if (forwarding.webSocket) kept.push(["connection", "Upgrade"], ["upgrade", "websocket"]);
  // Left out, the runtime would ask for compression that the visitor may not understand.
  if (!hasAcceptEncoding) kept.push(["accept-encoding", "identity"]);

  const { hostWithPort, scheme, clientAddress, prefix = "" } = forwarding;
  kept.push(
    ["x-forwarded-host", hostWithPort],
    ["x-forwarded-proto", scheme],
    ["x-forwarded-port", portOf(hostWithPort) ?? (scheme === "https" ? "443" : "80")],
    ["forwarded", forwardedHeader(forwarding)],
    [HEADER.requestId, forwarding.requestId],
    ["traceparent", forwarding.traceparent],
  );
  if (clientAddress !== null) kept.push(["x-forwarded-for", clientAddress]);
  if (prefix !== "") kept.push(["x-forwarded-prefix", prefix]);
  // A state without the parent that it belongs to means nothing (W3C Trace Context, section 3.3).
  if (tracestate !== null && traceparent === forwarding.traceparent) kept.push(...tracestate);
  return kept;
}

/** `forwardedFields` for hops that take Headers. `inbound` is not changed. */
export function forwardedRequestHeaders(inbound: Headers, forwarding: Forwarding): Headers {
  return headersOf(forwardedFields(inbound, forwarding));
}

function headersOf(fields: Fields): Headers {
  const headers = new Headers();
  for (const [name, value] of fields) headers.append(name, value);
  return headers;
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
});

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

function withoutListed(fields: [string, string][], listed: ReadonlySet<string>): [string, string][] {
  return fields.filter(([name]) => {
    const lower = name.toLowerCase();
    return !listed.has(lower) && !listed.has(asReadByCgi(lower));
  });
}

/** RFC 7239: an address with colons is quoted and bracketed, an absent one is `unknown`. */
function forwardedHeader({ clientAddress, hostWithPort, scheme }: Forwarding): string {
  const node =
    clientAddress === null ? "unknown" : clientAddress.includes(":") ? `"[${clientAddress}]"` : clientAddress;
  return `for=${node};host="${hostWithPort}";proto=${scheme}`;
}

export interface Returning {
  readonly requestId: string;
  /** The hop is ours (lane, portal), so its `causeway-error` is true. Default: false. */
  readonly keepOurs?: boolean;
  /** The answer to a handshake that this hop takes part in. Default: false. */
  readonly webSocket?: boolean;
  /** The answer crosses a host that tenants share. Default: false. */
  readonly withoutCookies?: boolean;
}

/** Fields of an answer on its way to the visitor, in one pass. */
export function returnedFields(fields: Fields, returning: Returning): [name: string, value: string][] {
  const { requestId, keepOurs = false, webSocket = false, withoutCookies = false } = returning;
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
        if (!withoutCookies && !isOwnCookie(value.slice(0, value.indexOf("=")).trim())) out.push([name, value]);
        break;
      case "single": {
        const lower = name.toLowerCase();
        if (singles.includes(lower)) break;
        singles.push(lower);
        out.push([name, value.split(",", 1)[0]?.trim() ?? ""]);
        break;
      }
      case "error":
        if (keepOurs) out.push([name, value]);
    }
  }
  const kept = perConnection === null ? out : withoutListed(out, perConnection);
  kept.push([HEADER.requestId, requestId]);
  return kept;
}

/** `returnedFields` for hosts that make a Response. */
export function returnedResponseHeaders(upstream: Headers, returning: Returning): Headers {
  return headersOf(returnedFields(upstream, returning));
}

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
  const [, trace, span] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(inbound ?? "") ?? [];
  if (inbound !== null && trace !== undefined && !/^0+$/.test(trace) && span !== undefined && !/^0+$/.test(span)) {
    return inbound;
  }
  const bytes = new Uint8Array(24);
  random(bytes);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `00-${hex.slice(0, 32)}-${hex.slice(32)}-00`;
}
