import { HOP_BY_HOP } from "./hop-by-hop.ts";
import { HEADER } from "../protocol/headers.ts";

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
  readonly webSocket: boolean;
}

/**
 * Request headers that only an internal hop may set: ours, Envoy's, a platform's, and the ones by which frameworks let a proxy replace
 * tenant, address or path.
 */
const INTERNAL_REQUEST_PREFIXES = [
  "causeway-",
  "x-causeway-",
  "x-edge-",
  "x-envoy-",
  "x-forwarded-",
  "x-tenant",
  "cf-",
] as const;
const INTERNAL_REQUEST_NAMES: ReadonlySet<string> = new Set([
  "forwarded",
  "x-forwarded",
  "client-ip",
  "fastly-client-ip",
  "true-client-ip",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-real-ip",
  "x-original-host",
  "x-original-url",
  "x-rewrite-url",
  "x-host",
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
  "x-middleware-subrequest",
  "tenant-id",
  // CGI makes HTTP_PROXY of it, which HTTP clients take for a setting (httpoxy, CVE-2016-5385).
  "proxy",
  "host",
  "expect",
]);

/**
 * CGI, WSGI, PHP and the like can't tell `x_forwarded_for` from `x-forwarded-for` (RFC 3875, section 4.1.18), some not `x.forwarded.for`
 * either: a name is judged as they would read it. Not dropped for its underscore alone, as nginx does by default: applications have names
 * such as `api_key`.
 */
const asReadByCgi = (name: string): string => name.replaceAll(/[^a-z0-9]/g, "-");

function isInternal(name: string, perConnection: ReadonlySet<string>): boolean {
  const read = asReadByCgi(name);
  if (perConnection.has(name) || perConnection.has(read) || INTERNAL_REQUEST_NAMES.has(read)) return true;
  // A second length is for smuggling.
  if (read === "content-length" && name !== read) return true;
  return INTERNAL_REQUEST_PREFIXES.some((prefix) => read.startsWith(prefix));
}

/** Names of cookies that belong to the edge: services neither see nor set them. */
export const SESSION_COOKIE = { secure: "__Host-causeway", loopback: "causeway" } as const;
const isOwnCookie = (name: string): boolean => /^(?:__Host-)?causeway(?:-|$)/.test(name);

/** Headers for the next hop (node or lane), from the visitor's. `inbound` is not changed. */
export function forwardedRequestHeaders(inbound: Headers, forwarding: Forwarding): Headers {
  const headers = new Headers();
  const perConnection = connectionListed(inbound);
  for (const [name, value] of inbound) {
    if (isInternal(name, perConnection)) continue;
    if (name === "cookie" || name === "traceparent" || name === "tracestate") continue;
    headers.append(name, value);
  }
  if (forwarding.webSocket) {
    headers.set("connection", "Upgrade");
    headers.set("upgrade", "websocket");
  }
  // Left out, the runtime would ask for compression that the visitor may not understand.
  if (!inbound.has("accept-encoding")) headers.set("accept-encoding", "identity");
  const cookie = withoutOwnCookies(inbound.get("cookie"));
  if (cookie !== null) headers.set("cookie", cookie);

  const { hostWithPort, scheme, clientAddress } = forwarding;
  const [, port] = /:([0-9]+)$/.exec(hostWithPort) ?? [];
  headers.set("x-forwarded-host", hostWithPort);
  headers.set("x-forwarded-proto", scheme);
  headers.set("x-forwarded-port", port ?? (scheme === "https" ? "443" : "80"));
  if (clientAddress !== null) headers.set("x-forwarded-for", clientAddress);
  headers.set("forwarded", forwardedHeader(forwarding));
  headers.set(HEADER.requestId, forwarding.requestId);
  headers.set("traceparent", forwarding.traceparent);
  const tracestate = inbound.get("tracestate");
  // A state without the parent that it belongs to means nothing (W3C Trace Context, section 3.3).
  if (tracestate !== null && inbound.get("traceparent") === forwarding.traceparent) {
    headers.set("tracestate", tracestate);
  }
  return headers;
}

/** RFC 7239: an address with colons is quoted and bracketed, an absent one is `unknown`. */
function forwardedHeader({ clientAddress, hostWithPort, scheme }: Forwarding): string {
  const node =
    clientAddress === null ? "unknown" : clientAddress.includes(":") ? `"[${clientAddress}]"` : clientAddress;
  return `for=${node};host="${hostWithPort}";proto=${scheme}`;
}

/** Headers of an answer on its way to the visitor. `keepOurs`: the hop is ours (lane, portal), so its `causeway-error` is true. */
export function returnedResponseHeaders(upstream: Headers, requestId: string, keepOurs: boolean): Headers {
  const headers = new Headers();
  const perConnection = connectionListed(upstream);
  for (const [name, value] of upstream) {
    if (perConnection.has(name) || name.startsWith("x-envoy-") || name === "alt-svc" || name === "set-cookie") continue;
    if (name.startsWith("causeway-") && !(keepOurs && name === HEADER.error)) continue;
    headers.append(name, SINGLE_VALUED_CORS.has(name) ? firstValue(value) : value);
  }
  for (const cookie of upstream.getSetCookie()) {
    if (!isOwnCookie(cookie.slice(0, cookie.indexOf("=")).trim())) headers.append("set-cookie", cookie);
  }
  headers.set(HEADER.requestId, requestId);
  return headers;
}

/** A browser refuses an answer in which two layers each wrote these (H17). */
const SINGLE_VALUED_CORS: ReadonlySet<string> = new Set([
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-max-age",
]);
const firstValue = (value: string): string => value.split(",", 1)[0]?.trim() ?? "";

/** Hop-by-hop names of this message, those that `Connection` lists included. */
function connectionListed(headers: Headers): ReadonlySet<string> {
  const names = new Set(HOP_BY_HOP);
  for (const token of headers.get("connection")?.split(",") ?? []) {
    const name = token.trim().toLowerCase();
    if (name !== "") names.add(name);
  }
  return names;
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
