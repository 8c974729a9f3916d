import { isWebSocketUpgrade, readCookie } from "../policy/headers.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import { SESSION_LIFETIME_SECONDS, SESSION_RENEW_BELOW_SECONDS, type SessionClaims } from "../protocol/portal-rpc.ts";
import { LIMITS } from "./limits.ts";
import { cookieName, ownCookie } from "./own-cookies.ts";
import type { EdgePorts } from "./ports.ts";
import { within } from "./timer.ts";
import type { Visit } from "./visit.ts";

/**
 * A session that is used lives on: the portal gives a new token for one that has run a quarter of its idle time, until the session's absolute
 * end. Asked for beside the request, so nobody waits for it; a portal that is away renews nothing, and the token lasts a while yet.
 */
export function beginRenewal(
  visit: Visit,
  record: DirectoryRecord,
  { exp, iat }: SessionClaims,
  ports: Pick<EdgePorts, "sessions" | "timer" | "now" | "log">,
): void {
  const left = exp - Math.floor(ports.now() / 1_000);
  if (left > SESSION_RENEW_BELOW_SECONDS || exp >= iat + SESSION_LIFETIME_SECONDS) return;
  const { headers } = visit.request;
  const token = readCookie(headers.get("cookie"), cookieName(visit, ""));
  if (token === null || isWebSocketUpgrade(visit.method, headers)) return;
  visit.session.renewal = within(
    ports.timer,
    LIMITS.sessionCheckTimeoutMs,
    ports.sessions.renew(token, record.tenantId),
  ).catch((error: unknown) => {
    ports.log.warn("the portal did not renew a session", { requestId: visit.requestId, error: String(error) });
    return null;
  });
}

/** The answer with the new token's cookie, where one was asked for and given. */
export async function withRenewal(visit: Visit, response: Response, now: () => number): Promise<Response> {
  const { renewal } = visit.session;
  // What shared caches may keep must not carry a session.
  if (renewal === undefined || response.status === 101 || isShared(response.headers)) return response;
  const renewed = await renewal;
  if (renewed === null) return response;
  const maxAgeSeconds = renewed.expiresAtSeconds - Math.floor(now() / 1_000);
  const copy = new Response(response.body, response);
  copy.headers.append("set-cookie", ownCookie(visit, cookieName(visit, ""), renewed.token, maxAgeSeconds));
  return copy;
}

const isShared = (headers: Headers): boolean => /\b(?:public|s-maxage)\b/i.test(headers.get("cache-control") ?? "");
