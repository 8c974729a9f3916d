import { SESSION_COOKIE } from "../policy/headers.ts";
import type { Visit } from "./visit.ts";

/** Cookies of the edge on tenants' hosts. Services neither see nor set them (policy/headers.ts). */

/** On https the prefix binds a cookie to this host, path and scheme; browsers refuse it on plain http, which is loopback here. */
export function cookieName(visit: Pick<Visit, "scheme">, suffix: string): string {
  return (visit.scheme === "https" ? SESSION_COOKIE.secure : SESSION_COOKIE.loopback) + suffix;
}

export function ownCookie(visit: Pick<Visit, "scheme">, name: string, value: string, maxAgeSeconds: number): string {
  const secure = visit.scheme === "https" ? "; Secure" : "";
  return `${name}=${value}; Path=/; Max-Age=${maxAgeSeconds}; HttpOnly; SameSite=Lax${secure}`;
}

export const expiredCookie = (visit: Pick<Visit, "scheme">, name: string): string => ownCookie(visit, name, "", 0);

/** "//host" and "/\host" are other hosts to a browser. */
export const isOwnPath = (path: string): boolean => /^\/(?![/\\])/.test(path);

/** The path as an address of this host; its start page if a URL parser reads another host out of it. */
export function sameOrigin(visit: Pick<Visit, "scheme" | "hostWithPort">, path: string): string {
  const { origin } = new URL(`${visit.scheme}://${visit.hostWithPort}`);
  const url = new URL(path, origin);
  return url.origin === origin ? url.toString() : `${origin}/`;
}

/** Whether a form was sent by a page of this very host: a link or another site's form can't do that. */
export function isOwnForm(visit: Visit): boolean {
  const { headers } = visit.request;
  const site = headers.get("sec-fetch-site");
  if (site !== null) return site === "same-origin";
  return headers.get("origin") === `${visit.scheme}://${visit.hostWithPort}`;
}

/** The answer to a form or a link that leads on. */
export function seeOther(location: string, setCookies: readonly string[]): Response {
  const response = new Response(null, { status: 303, headers: { location, "cache-control": "no-store" } });
  for (const cookie of setCookies) response.headers.append("set-cookie", cookie);
  return response;
}
