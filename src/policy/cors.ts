import type { CorsPolicy } from "./edge-policy.ts";

/**
 * Cross-origin sharing, said in one place (H17): what a service says is taken away first, so a browser never sees two opinions. Fetch
 * standard, section 3.2.
 */
const CORS_FIELDS = [
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-expose-headers",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "access-control-max-age",
  "access-control-allow-private-network",
] as const;

/** A browser's question whether the page of another origin may ask; it never carries credentials, so it comes before access. */
export const isPreflight = (method: string, headers: Headers): boolean =>
  method === "OPTIONS" && headers.has("origin") && headers.has("access-control-request-method");

/** The answer's headers; to an origin, method or header that is not allowed it names none, and the browser refuses. */
export function preflightHeaders(cors: CorsPolicy, request: Headers): Record<string, string> {
  const vary = { vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers" };
  const allowed = allowedOrigin(cors, request.get("origin"));
  const method = request.get("access-control-request-method") ?? "";
  if (allowed === null || !cors.methods.includes(method)) return vary;
  const asked = listed(request.get("access-control-request-headers"));
  const known = cors.headers?.map((name) => name.toLowerCase());
  if (known !== undefined && asked.some((name) => !known.includes(name))) return vary;
  return {
    ...vary,
    "access-control-allow-origin": allowed,
    "access-control-allow-methods": cors.methods.join(", "),
    ...(asked.length > 0 && { "access-control-allow-headers": asked.join(", ") }),
    ...(cors.credentials && { "access-control-allow-credentials": "true" }),
    "access-control-max-age": String(cors.maxAgeSeconds),
  };
}

/** Makes an answer's headers say what the policy says, and nothing else about it. */
export function applyCors(headers: Headers, cors: CorsPolicy, origin: string | null): void {
  for (const name of CORS_FIELDS) headers.delete(name);
  // The answer differs by origin even where this one is not allowed: a cache must not mix them up.
  if (!cors.origins.includes("*")) addVary(headers, "Origin");
  const allowed = allowedOrigin(cors, origin);
  if (allowed === null) return;
  headers.set("access-control-allow-origin", allowed);
  if (cors.credentials) headers.set("access-control-allow-credentials", "true");
  if (cors.exposeHeaders.length > 0) headers.set("access-control-expose-headers", cors.exposeHeaders.join(", "));
}

function allowedOrigin(cors: CorsPolicy, origin: string | null): string | null {
  if (origin === null) return null;
  if (cors.origins.includes("*")) return "*";
  return cors.origins.includes(origin) ? origin : null;
}

function addVary(headers: Headers, name: string): void {
  const names = listed(headers.get("vary"));
  if (!names.includes("*") && !names.includes(name.toLowerCase())) headers.append("vary", name);
}

/** Names in a list, lower case; only what can be a header's name, for they are sent back. */
const listed = (value: string | null): string[] =>
  (value ?? "")
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
    .filter((name) => /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/.test(name))
    .slice(0, 50);
