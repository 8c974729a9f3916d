import { isOpenToAccounts } from "../policy/access.ts";
import { cookieNames, readCookie } from "../policy/headers.ts";
import { isLoopbackHost } from "../policy/host.ts";
import { PAGE_SECURITY_HEADERS, pageHtml } from "../policy/error-page.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import { PLATFORM_PREFIX } from "../policy/route.ts";
import type { SessionClaims } from "../protocol/portal-rpc.ts";
import { LIMITS } from "./limits.ts";
import { cookieName, expiredCookie, isOwnForm, isOwnPath, ownCookie, sameOrigin, seeOther } from "./own-cookies.ts";
import { takePassword } from "./password-page.ts";
import type { EdgePorts, EdgeSettings } from "./ports.ts";
import { refuse, refuseWithRemedy, type Visit } from "./visit.ts";

type SignInPorts = Pick<
  EdgePorts,
  "sessions" | "liveSessions" | "verifySession" | "random" | "log" | "passes" | "rates" | "publicKeys"
>;

/**
 * Sessions on tenant hosts (design, section 4). A browser goes to the portal with a PKCE challenge (RFC 7636) and a state, and comes back to
 * `/.causeway/callback` with a one-time code; the edge redeems it and sets a cookie of this host only. The state's cookie holds the
 * verifier and where to return to, so nothing that a link carries decides where a browser ends up.
 */
export const OWN_PATHS = `${PLATFORM_PREFIX}/`;

/** The session that the request's cookie proves, or null. */
export async function currentSession(
  visit: Visit,
  record: DirectoryRecord,
  verify: SignInPorts["verifySession"],
): Promise<SessionClaims | null> {
  const token = readCookie(visit.request.headers.get("cookie"), cookieName(visit, ""));
  return token === null ? null : await verify(token, record.tenantId);
}

/** Sends a browser to the portal. */
export async function redirectToSignIn(
  visit: Visit,
  ports: Pick<SignInPorts, "random">,
  settings: EdgeSettings,
  returnTo: string = returnPath(visit),
): Promise<Response> {
  const visited = hostOf(visit);
  // A session cookie must not travel in the clear; only this machine's own names are as good as https.
  if (visit.scheme === "http" && !isLoopbackHost(visited)) {
    if (settings.publicScheme === "http") return refuse(visit, "forbidden", "Sign-in needs https on this host.");
    return seeOther(`https://${visited}${visit.rawPath}${visit.rawQuery}`, []);
  }
  const state = randomText(ports.random, 16);
  const verifier = randomText(ports.random, 32);
  const authorize = new URL(`${settings.publicScheme}://${settings.baseDomains[0]}/authorize`);
  if (settings.publicPort !== "") authorize.port = settings.publicPort;
  authorize.search = new URLSearchParams({
    host: visited,
    state,
    code_challenge: await challengeOf(verifier),
    code_challenge_method: "S256",
  }).toString();

  const pending = cookieNames(visit.request.headers.get("cookie")).filter((name) =>
    name.startsWith(stateCookie(visit, "")),
  );
  const tooMany = pending.length >= LIMITS.openSignIns ? pending : [];
  return seeOther(authorize.toString(), [
    ...tooMany.map((name) => expiredCookie(visit, name)),
    ownCookie(visit, stateCookie(visit, state), encodePending(verifier, returnTo), LIMITS.signInSeconds),
  ]);
}

/** `/.causeway/...` on a tenant's or target's host. */
export async function ownPath(
  visit: Visit,
  record: DirectoryRecord,
  ports: SignInPorts,
  settings: EdgeSettings,
): Promise<Response> {
  const name = visit.rawPath.slice(OWN_PATHS.length);
  const { method } = visit.request;
  if (name === "jwks.json" && (method === "GET" || method === "HEAD")) return publishedKeys(visit, ports);
  if (name === "password" && method === "POST") return await takePassword(visit, record, ports);
  if (name === "sign-in" && method === "GET") return await signInAgain(visit, ports, settings);
  if (name === "callback" && method === "GET") return await callback(visit, record, ports);
  if (name === "sign-out" && (method === "GET" || method === "HEAD")) return signOutPage();
  if (name === "sign-out" && method === "POST") return await signOut(visit, record, ports);
  return refuse(visit, "not-found", "There is nothing at this address of the platform.");
}

/** For services that verify whom the edge has let in (protocol/identity.ts). Public keys, the same on every host. */
function publishedKeys(visit: Visit, { publicKeys }: Pick<SignInPorts, "publicKeys">): Response {
  const body = JSON.stringify({ keys: publicKeys().keys.map((key) => ({ ...key, alg: "EdDSA", use: "sig" })) });
  return new Response(visit.method === "HEAD" ? null : body, {
    headers: { "content-type": "application/jwk-set+json", "cache-control": "public, max-age=300" },
  });
}

/** A link on the pages that refuse somebody: a session says what its account might do when it began, and that may have changed. */
async function signInAgain(
  visit: Visit,
  ports: Pick<SignInPorts, "random">,
  settings: EdgeSettings,
): Promise<Response> {
  const next = new URLSearchParams(visit.rawQuery).get("next") ?? "/";
  const returnTo = next.length <= LIMITS.returnPathLength && isOwnPath(next) && isVisible(next) ? next : "/";
  return await redirectToSignIn(visit, ports, settings, returnTo);
}
const isVisible = (text: string): boolean => /^[\x21-\x7e]*$/.test(text);

/** The page that was asked for is not known any more. */
const AGAIN = { href: "/.causeway/sign-in", text: "Sign in again" };

async function callback(visit: Visit, record: DirectoryRecord, ports: SignInPorts): Promise<Response> {
  const query = new URLSearchParams(visit.rawQuery);
  const code = query.get("code") ?? "";
  const state = query.get("state") ?? "";
  const cookie = stateCookie(visit, state);
  const pending = decodePending(readCookie(visit.request.headers.get("cookie"), cookie));
  if (!/^[A-Za-z0-9_-]{22}$/.test(state) || !/^[A-Za-z0-9_-]{1,128}$/.test(code) || pending === null) {
    return refuseWithRemedy(visit, "bad-request", "This sign-in was not started here, or too long ago.", AGAIN);
  }
  let session: Awaited<ReturnType<SignInPorts["sessions"]["redeem"]>>;
  try {
    session = await ports.sessions.redeem({
      code,
      verifier: pending.verifier,
      host: hostOf(visit),
      tenantId: record.tenantId,
      accessRevision: record.accessRevision,
      ...(isOpenToAccounts(record) && { openToAccounts: true }),
    });
  } catch (error) {
    ports.log.error("the portal did not redeem a code", { requestId: visit.requestId, error: String(error) });
    return refuse(visit, "not-available", "Sign-in does not work right now. Try again in a moment.");
  }
  if (session === null) {
    const refusal = refuseWithRemedy(visit, "unauthorized", "This sign-in is not valid any more.", AGAIN);
    refusal.headers.append("set-cookie", expiredCookie(visit, cookie));
    return refusal;
  }
  const claims = await ports.verifySession(session.token, record.tenantId);
  if (claims === null) {
    ports.log.error("the portal's session token does not verify", { requestId: visit.requestId });
    return refuse(visit, "not-available", "Sign-in does not work right now. Try again in a moment.");
  }
  visit.seen.account = claims.sub;
  const maxAge = session.expiresAtSeconds - claims.iat;
  return seeOther(sameOrigin(visit, pending.returnTo), [
    ownCookie(visit, cookieName(visit, ""), session.token, maxAge),
    expiredCookie(visit, cookie),
  ]);
}

/** Signing out changes something, so it is a POST from a page of this very host; a link or another site's form can't do it. */
async function signOut(visit: Visit, record: DirectoryRecord, ports: SignInPorts): Promise<Response> {
  if (!isOwnForm(visit)) return refuse(visit, "forbidden", "Signing out works from this site's own page only.");
  const claims = await currentSession(visit, record, ports.verifySession);
  if (claims !== null) {
    ports.liveSessions.noteEnded(claims.sid);
    try {
      await ports.sessions.end(claims.sid);
    } catch (error) {
      // The cookie goes all the same; elsewhere the session then lives until it is ended at the portal.
      ports.log.warn("the portal did not end a session", { requestId: visit.requestId, error: String(error) });
    }
  }
  const page = htmlPage(
    "Signed out",
    '<h1>You are signed out</h1><p class="soft">This browser has no session here any more.</p>',
  );
  for (const suffix of ["", "-pass"])
    page.headers.append("set-cookie", expiredCookie(visit, cookieName(visit, suffix)));
  return page;
}

function signOutPage(): Response {
  return htmlPage(
    "Sign out",
    '<h1>Sign out?</h1><p class="soft">You will have to sign in again to see protected pages.</p>' +
      '<form method="post" action="/.causeway/sign-out"><button type="submit">Sign out</button></form>',
  );
}

function htmlPage(title: string, bodyHtml: string): Response {
  return new Response(pageHtml(title, bodyHtml), {
    headers: { "content-type": "text/html; charset=utf-8", ...PAGE_SECURITY_HEADERS },
  });
}

const stateCookie = (visit: Visit, state: string): string => cookieName(visit, `-state-${state}`);

/** Where to go after the sign-in: this request's own address, or as much of it as a cookie can hold. */
export function returnPath(visit: Visit): string {
  const { rawPath, rawQuery } = visit;
  return [rawPath + rawQuery, rawPath].find((path) => path.length <= LIMITS.returnPathLength && isOwnPath(path)) ?? "/";
}

function encodePending(verifier: string, returnTo: string): string {
  return `${verifier}.${base64Url(new TextEncoder().encode(returnTo))}`;
}

function decodePending(cookie: string | null): { verifier: string; returnTo: string } | null {
  const [, verifier, encoded] = /^([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]+)$/.exec(cookie ?? "") ?? [];
  if (verifier === undefined || encoded === undefined) return null;
  try {
    const binary = atob(encoded.replaceAll("-", "+").replaceAll("_", "/"));
    const returnTo = new TextDecoder().decode(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
    return isOwnPath(returnTo) ? { verifier, returnTo } : null;
  } catch {
    return null;
  }
}

async function challengeOf(verifier: string): Promise<string> {
  return base64Url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function randomText(random: (bytes: Uint8Array) => void, length: number): string {
  const bytes = new Uint8Array(length);
  random(bytes);
  return base64Url(bytes);
}

function base64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

function hostOf(visit: Visit): string {
  return visit.parsedHost.kind === "malformed" ? "" : visit.parsedHost.host;
}
