import { readCookie } from "../policy/headers.ts";
import { nextPath } from "./forms.ts";
import { LIMITS } from "./limits.ts";
import type { PortalSettings } from "./settings.ts";

/**
 * Where a browser that came to sign in was going, for those who must make an account or set a password first: the way through their mail
 * ends at this sign-in page again, in the same browser. Kept there and not in the mail, so that nobody else can say where a link leads.
 */
const cookieName = ({ publicScheme }: PortalSettings): string =>
  publicScheme === "https" ? "__Host-causeway-portal-next" : "causeway-portal-next";

/** `next`: path of this portal; null forgets it. */
export function wayOnCookie(settings: PortalSettings, next: string | null): string {
  const secure = settings.publicScheme === "https" ? "; Secure" : "";
  const maxAge = next === null ? 0 : LIMITS.wayOnSeconds;
  return `${cookieName(settings)}=${encodeURIComponent(next ?? "")}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Lax${secure}`;
}

/** The start page where nothing is kept, or nothing of ours. */
export function wayOn(settings: PortalSettings, request: Request): string {
  const kept = readCookie(request.headers.get("cookie"), cookieName(settings));
  if (kept === null) return "/";
  try {
    return nextPath.parse(decodeURIComponent(kept));
  } catch {
    return "/";
  }
}
