import { HOP_BY_HOP, WEBSOCKET_HANDSHAKE } from "./hop-by-hop.ts";

/** What becomes of a visitor's field, by its name alone. `websocket`: kept for a handshake only. The rest need their value looked at. */
export type RequestRule =
  | "pass"
  | "drop"
  | "connection"
  | "websocket"
  | "cookie"
  | "traceparent"
  | "tracestate"
  | "accept-encoding"
  | "authorization";

/** The same for a field of an answer. `single`: one value only. */
export type ResponseRule = "pass" | "drop" | "connection" | "websocket" | "cookie" | "single";

/**
 * Request headers that only an internal hop may set: ours, Envoy's, a platform's, and the ones by which frameworks let a proxy replace
 * tenant, address or path.
 */
export const INTERNAL_REQUEST_PREFIXES = [
  "causeway-",
  "x-causeway-",
  "x-edge-",
  "x-envoy-",
  "x-forwarded-",
  "x-tenant",
  "cf-",
] as const;
export const INTERNAL_REQUEST_NAMES: ReadonlySet<string> = new Set([
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
export const asReadByCgi = (lowerCaseName: string): string => lowerCaseName.replaceAll(/[^a-z0-9]/g, "-");

const REQUEST_RULES: ReadonlyMap<string, RequestRule> = new Map([
  ["connection", "connection"],
  ["cookie", "cookie"],
  ["traceparent", "traceparent"],
  ["tracestate", "tracestate"],
  ["accept-encoding", "accept-encoding"],
  ["authorization", "authorization"],
]);

function judgeRequestName(name: string): RequestRule {
  const lower = name.toLowerCase();
  const known = REQUEST_RULES.get(lower);
  if (known !== undefined) return known;
  const read = asReadByCgi(lower);
  if (WEBSOCKET_HANDSHAKE.has(read)) return "websocket";
  if (HOP_BY_HOP.has(read) || INTERNAL_REQUEST_NAMES.has(read)) return "drop";
  // A second length is for smuggling.
  if (read === "content-length" && lower !== read) return "drop";
  return INTERNAL_REQUEST_PREFIXES.some((prefix) => read.startsWith(prefix)) ? "drop" : "pass";
}

/** A browser refuses an answer in which two layers each wrote these (H17). */
export const SINGLE_VALUED_CORS: ReadonlySet<string> = new Set([
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-max-age",
]);

function judgeResponseName(name: string): ResponseRule {
  const lower = name.toLowerCase();
  if (lower === "connection") return "connection";
  if (lower === "set-cookie") return "cookie";
  if (WEBSOCKET_HANDSHAKE.has(lower)) return "websocket";
  if (HOP_BY_HOP.has(lower) || lower === "alt-svc") return "drop";
  if (lower.startsWith("x-envoy-") || lower.startsWith("causeway-")) return "drop";
  return SINGLE_VALUED_CORS.has(lower) ? "single" : "pass";
}

/** Names are few and come again with every request; beyond this somebody sends made-up ones, and all of them are forgotten. */
const REMEMBERED_NAMES = 1_000;
/** Longer ones are judged each time: an isolate's memory is not theirs. */
const REMEMBERED_NAME_LENGTH = 64;

/** One look into a table instead of a dozen comparisons for each field of each request. */
function remembered<Rule>(judge: (name: string) => Rule): (name: string) => Rule {
  const rules = new Map<string, Rule>();
  return (name) => {
    const known = rules.get(name);
    if (known !== undefined) return known;
    const rule = judge(name);
    if (name.length <= REMEMBERED_NAME_LENGTH) {
      if (rules.size >= REMEMBERED_NAMES) rules.clear();
      rules.set(name, rule);
    }
    return rule;
  };
}

/** `name` in any case. */
export const requestRule: (name: string) => RequestRule = remembered(judgeRequestName);
export const responseRule: (name: string) => ResponseRule = remembered(judgeResponseName);
