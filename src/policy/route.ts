import type { RouteTimeouts, TenantRoute } from "./record.ts";

/**
 * Which route of a tenant a path belongs to. The path that is matched is the raw one, because it goes on unchanged; but services decode
 * it, and some cut off path parameters (servlets), so a path that would match another route when read so (or climbs with dot segments) is
 * refused instead of guessed at: otherwise `/x/..%2fadmin`, `/%61dmin` or `/admin;x` would reach a protected prefix by way of a public one.
 */
export type RouteMatch =
  | {
      readonly kind: "route";
      readonly route: TenantRoute;
      /** The path behind the prefix, still encoded, always with a leading "/". */
      readonly rest: string;
    }
  | { readonly kind: "none" }
  | { readonly kind: "ambiguous" };

/** `rawPath`: percent-encoded, without query, as in the request line. */
export function matchRoute(routes: readonly TenantRoute[], rawPath: string): RouteMatch {
  if (!rawPath.startsWith("/")) return { kind: "ambiguous" };
  const route = longestPrefix(routes, rawPath);
  if (!PLAIN_PATH.test(rawPath)) {
    const decoded = decodedPath(rawPath);
    if (decoded === null) return { kind: "ambiguous" };
    // Parameters are cut off before the decoding by those who keep to the rules, and after it by others.
    const readings = [decoded, withoutParameters(decoded), decodedPath(withoutParameters(rawPath))];
    for (const reading of readings) {
      if (reading === null || longestPrefix(routes, reading) !== route) return { kind: "ambiguous" };
    }
  }
  if (route === null) return { kind: "none" };
  const rest = route.prefix === "/" ? rawPath : rawPath.slice(route.prefix.length);
  return { kind: "route", route, rest: rest === "" ? "/" : rest };
}

/** Path for a target, without query: the route's prefix is cut off, or becomes what the route says. */
export function targetPath(route: TenantRoute, rest: string): string {
  const prefix = route.rewrite?.prefix ?? "/";
  if (prefix === "/") return rest;
  return rest === "/" ? prefix : prefix + rest;
}

/**
 * Where a redirecting route sends a visitor; a path becomes an address of the visited origin, so that one that begins with two slashes names
 * no other host.
 */
export function redirectLocation(
  to: Extract<TenantRoute["to"], { kind: "redirect" }>,
  rest: string,
  rawQuery: string,
  origin: string,
): string {
  const base = to.location.startsWith("/") ? origin + to.location : to.location;
  // A prefix that was asked for without anything behind it leads to just the location.
  const path = to.keepPath && rest !== "/" ? base.replace(/\/$/, "") + rest : base;
  return to.keepQuery ? path + rawQuery : path;
}

/** Timeouts of a target's own host and of its relay address: those of the first route to it that has any. */
export function targetTimeouts(routes: readonly TenantRoute[], target: string): RouteTimeouts | null {
  for (const { to, timeouts } of routes) {
    if (timeouts && to.kind === "target" && to.target === target) return timeouts;
  }
  return null;
}

/** Paths of every tenant host that the edge answers itself (sign-in, sign-out); no route may be there. */
export const PLATFORM_PREFIX = "/.causeway";

/** Segment-aware: `/app` covers `/app` and `/app/x`, not `/app-frontend`. */
export function isUnderPrefix(path: string, prefix: string): boolean {
  return prefix === "/" || path === prefix || path.startsWith(`${prefix}/`);
}

function longestPrefix(routes: readonly TenantRoute[], path: string): TenantRoute | null {
  let best: TenantRoute | null = null;
  for (const route of routes) {
    const isCovered = route.exact === true ? path === route.prefix : isUnderPrefix(path, route.prefix);
    if (isCovered && route.prefix.length > (best?.prefix.length ?? 0)) best = route;
  }
  return best;
}

/** Nothing to decode: nearly every path. No segment is empty or begins with a dot. */
const PLAIN_PATH = /^(?:\/[\w~-][\w.~-]*)*\/?$/;

/**
 * The path as a careless service may see it: percent-decoded once, backslashes as slashes, repeated slashes as one. Null when it then has
 * dot segments or a NUL. Octets beyond ASCII stay encoded: no prefix has any.
 */
function decodedPath(rawPath: string): string | null {
  const decoded = rawPath.replace(/%([0-7][0-9a-fA-F])/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  if (decoded.includes("\0")) return null;
  const segments = decoded.replaceAll("\\", "/").split("/");
  // Path parameters do not hide a dot segment from servers that cut them off ("/..;/admin").
  if (segments.some((segment) => /^\.{1,2}(?:;.*)?$/.test(segment))) return null;
  return segments.join("/").replace(/\/{2,}/g, "/");
}

/** Without the parameters of each segment ("/a;b=c/d" is "/a/d", "/;x/a" is "/a"). */
function withoutParameters(path: string): string {
  return path.replace(/;[^/]*/g, "").replace(/\/{2,}/g, "/");
}
