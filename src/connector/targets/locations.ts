import type { HeaderList } from "../../protocol/tunnel/session.ts";
import type { WebTargetConfig } from "./target-config.ts";
import { valuesOf } from "./target-headers.ts";
import { pathBelow } from "./target-path.ts";

/** Where the visitor is, as far as the request says. */
interface VisitorPlace {
  /** `https://host:port`; null: unknown. */
  readonly origin: string | null;
  /** `host:port`; null: unknown. */
  readonly host: string | null;
  /** In front of every path that the target knows, "" for nothing. */
  readonly prefix: string;
}

type Place = Pick<WebTargetConfig, "url" | "host" | "stripPrefix" | "rewriteLocations">;

/**
 * An answer's redirects and cookies as they must be for the visitor. "origin": absolute addresses of the target's own origin, and of the
 * name that it is told to have (`host`), come out at the visitor's host, and cookies lose a Domain that is the target's own host. "all": paths in Location and of cookies follow too, for
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
  return { origin, host: host ?? null, prefix: prefix.replace(/\/+$/, "") };
}

function locationFor(target: Place, visitor: VisitorPlace, value: string): string {
  const [, scheme, authority, path = ""] = /^(?:(https?):)?\/\/([^/?#\\]+)(.*)$/i.exec(value) ?? [];
  if (authority !== undefined) {
    const own = `${scheme ?? target.url.protocol.slice(0, -1)}://${authority}`;
    if (authority.includes("@") || !URL.canParse(own)) return value;
    const { origin } = new URL(own);
    const asNamed = origin !== target.url.origin;
    if (asNamed && origin !== namedOrigin(target, visitor)) return value;
    const whole = path.startsWith("/") ? path : `/${path}`;
    // An application that knows the visitor's host may know X-Forwarded-Prefix as well.
    const known = asNamed && visitor.prefix !== "" && pathBelow(visitor.prefix, whole) !== null;
    const mapped = known ? whole : visitorPath(target, visitor, whole);
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

/** What a target that was asked by another name than its own takes for its address; the scheme is the one that it was asked by. */
function namedOrigin(target: Place, visitor: VisitorPlace): string | null {
  const host = target.host === "target" ? null : target.host === "preserve" ? visitor.host : target.host;
  const address = `${target.url.protocol}//${host}`;
  return host === null || !URL.canParse(address) ? null : new URL(address).origin;
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
  // The visitor's own name is good as it is.
  const named = target.host === "target" || target.host === "preserve" ? null : hostnameOf(target.host);
  for (const attribute of attributes) {
    const at = attribute.indexOf("=");
    const name = (at === -1 ? attribute : attribute.slice(0, at)).trim().toLowerCase();
    const value = at === -1 ? "" : attribute.slice(at + 1).trim();
    const domain = name === "domain" ? value.replace(/^\./, "").toLowerCase() : null;
    if (domain !== null && (domain === target.url.hostname || domain === named)) continue;
    const moved = name === "path" && target.rewriteLocations === "all" ? cookiePath(target, visitor, value) : null;
    kept.push(moved === null ? attribute : ` Path=${moved}`);
  }
  return [pair, ...kept].join(";");
}

const hostnameOf = (host: string): string | null =>
  URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : null;

function cookiePath(target: Place, visitor: VisitorPlace, path: string): string | null {
  if (visitor.prefix !== "" && pathBelow(visitor.prefix, path) !== null) return null;
  const below = visitorPath(target, visitor, path);
  if (below !== null) return below.length > 1 && !path.endsWith("/") ? below.replace(/\/$/, "") : below;
  // It covers more than the base: for the visitor that is everything of the target.
  const whole = visitor.prefix + (target.stripPrefix ?? "");
  return pathBelow(path, target.url.pathname) === null ? null : whole === "" ? "/" : whole;
}
