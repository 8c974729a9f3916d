import type { HeaderList } from "../../protocol/tunnel/session.ts";
import type { WebTargetConfig } from "./target-config.ts";
import { valuesOf } from "./target-headers.ts";
import { pathBelow } from "./target-path.ts";

/** Where the visitor is, as far as the request says. */
interface VisitorPlace {
  /** `https://host:port`; null: unknown. */
  readonly origin: string | null;
  /** In front of every path that the target knows, "" for nothing. */
  readonly prefix: string;
}

type Place = Pick<WebTargetConfig, "url" | "stripPrefix" | "rewriteLocations">;

/**
 * An answer's redirects and cookies as they must be for the visitor. "origin": absolute addresses of the target's own origin come out at the
 * visitor's host, and cookies lose a Domain that is the target's own host. "all": paths in Location and of cookies follow too, for
 * applications that know neither their base path nor X-Forwarded-Prefix.
 */
export function rewriteForVisitor(target: Place, request: HeaderList, headers: HeaderList): HeaderList {
  if (target.rewriteLocations === "off") return headers;
  let changed: (readonly [string, string])[] | null = null;
  let visitor: VisitorPlace | null = null;
  for (let i = 0; i < headers.length; i++) {
    const [name, value] = headers[i] ?? ["", ""];
    // Most fields are ruled out by their length alone.
    if (name.length !== 8 && name.length !== 10 && name.length !== 16) continue;
    const lower = name.toLowerCase();
    if (lower !== "location" && lower !== "content-location" && lower !== "set-cookie") continue;
    visitor ??= placeOf(request);
    const next = lower === "set-cookie" ? cookieFor(target, visitor, value) : locationFor(target, visitor, value);
    if (next === value) continue;
    changed ??= [...headers];
    changed[i] = [name, next];
  }
  return changed ?? headers;
}

/** By the fields that the relay writes; what a visitor sends of them never gets here. */
function placeOf(request: HeaderList): VisitorPlace {
  const [scheme] = valuesOf(request, "x-forwarded-proto");
  const [host] = valuesOf(request, "x-forwarded-host");
  const [prefix = ""] = valuesOf(request, "x-forwarded-prefix");
  const origin = scheme === undefined || host === undefined ? null : `${scheme}://${host}`;
  return { origin, prefix: prefix.replace(/\/+$/, "") };
}

function locationFor(target: Place, visitor: VisitorPlace, value: string): string {
  const [, scheme, authority, path = ""] = /^(?:(https?):)?\/\/([^/?#\\]+)(.*)$/i.exec(value) ?? [];
  if (authority !== undefined) {
    const own = `${scheme ?? target.url.protocol.slice(0, -1)}://${authority}`;
    if (authority.includes("@") || !URL.canParse(own) || new URL(own).origin !== target.url.origin) return value;
    const mapped = visitorPath(target, visitor, path.startsWith("/") ? path : `/${path}`);
    if (mapped === null) return value;
    // Without a host in front, two slashes would begin another host.
    return visitor.origin !== null ? visitor.origin + mapped : namesAnotherHost(mapped) ? value : mapped;
  }
  if (target.rewriteLocations !== "all" || !value.startsWith("/") || value.startsWith("//")) return value;
  // An application that knows X-Forwarded-Prefix has put it there itself.
  if (visitor.prefix !== "" && pathBelow(visitor.prefix, value) !== null) return value;
  const mapped = visitorPath(target, visitor, value);
  return mapped === null || namesAnotherHost(mapped) ? value : mapped;
}

/** A browser reads a backslash as a slash (URL Standard, "relative slash state"). */
const namesAnotherHost = (reference: string): boolean => /^\/[/\\]/.test(reference);

/** A path of the target as the visitor has to ask for it; null: the visitor can't. */
function visitorPath(target: Place, visitor: VisitorPlace, path: string): string | null {
  const rest = pathBelow(target.url.pathname, path);
  return rest === null ? null : visitor.prefix + (target.stripPrefix ?? "") + rest;
}

function cookieFor(target: Place, visitor: VisitorPlace, cookie: string): string {
  const [pair = "", ...attributes] = cookie.split(";");
  const kept: string[] = [];
  for (const attribute of attributes) {
    const at = attribute.indexOf("=");
    const name = (at === -1 ? attribute : attribute.slice(0, at)).trim().toLowerCase();
    const value = at === -1 ? "" : attribute.slice(at + 1).trim();
    if (name === "domain" && value.replace(/^\./, "").toLowerCase() === target.url.hostname) continue;
    const moved = name === "path" && target.rewriteLocations === "all" ? cookiePath(target, visitor, value) : null;
    kept.push(moved === null ? attribute : ` Path=${moved}`);
  }
  return [pair, ...kept].join(";");
}

function cookiePath(target: Place, visitor: VisitorPlace, path: string): string | null {
  if (visitor.prefix !== "" && pathBelow(visitor.prefix, path) !== null) return null;
  const below = visitorPath(target, visitor, path);
  if (below !== null) return below.length > 1 && !path.endsWith("/") ? below.replace(/\/$/, "") : below;
  // It covers more than the base: for the visitor that is everything of the target.
  const whole = visitor.prefix + (target.stripPrefix ?? "");
  return pathBelow(path, target.url.pathname) === null ? null : whole === "" ? "/" : whole;
}
