import { decideAccess, isOpen, type Requirement } from "../policy/access.ts";
import { isWebSocketUpgrade } from "../policy/headers.ts";
import { isNavigation } from "../policy/negotiate.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import type { SessionClaims } from "../protocol/portal-rpc.ts";
import { NOBODY, type Identity } from "./identity.ts";
import { askPassword, knowsPassword } from "./password-page.ts";
import type { EdgePorts, EdgeSettings } from "./ports.ts";
import { beginRenewal } from "./session-renewal.ts";
import { judgeServiceToken } from "./service-token.ts";
import { currentSession, redirectToSignIn, returnPath } from "./sign-in.ts";
import { refuse, refuseWithRemedy, type Visit } from "./visit.ts";

/** What is behind an address, as far as access goes. */
export interface Guarded {
  readonly requirement: Requirement;
  /** Of the routes that lead there: a service token's scope must cover one of them. */
  readonly prefixes: readonly string[];
  /** A host that all tenants share has no sessions and no forms: a service token is the only way in. */
  readonly forPrograms: boolean;
}

/** Who the visitor is when it may go on, else the answer that it gets instead. */
export async function admitVisitor(
  visit: Visit,
  record: DirectoryRecord,
  { requirement, prefixes, forPrograms }: Guarded,
  ports: EdgePorts,
  settings: EdgeSettings,
): Promise<Identity | Response> {
  if (isOpen(requirement)) return NOBODY;
  const nowSeconds = Math.floor(ports.now() / 1_000);
  const byToken = await judgeServiceToken(visit, record.policy?.tokens ?? [], prefixes, nowSeconds);
  if (byToken.kind === "good") return { kind: "service-token", tokenId: byToken.tokenId };
  if (byToken.kind === "forbidden") {
    return refuse(visit, "forbidden", "This service token is not for this address, or not for changing things.");
  }
  if (byToken.kind !== "none") {
    return refuse(
      visit,
      "unauthorized",
      "This service token is unknown here, was revoked, or has run out.",
      challenge(record),
    );
  }
  if (forPrograms) return refuse(visit, "unauthorized", FOR_PROGRAMS, challenge(record));

  const proven = requirement.account === "none" ? null : await provenSession(visit, record, ports);
  const claims = proven !== null && (await ports.liveSessions.isLive(proven.sid, visit.waitUntil)) ? proven : null;
  const { headers } = visit.request;
  const visitor = {
    claims,
    knowsPassword: requirement.password && (await knowsPassword(visit, record, ports.passes)),
    canSignIn: isNavigation(visit.method, headers) && !isWebSocketUpgrade(visit.method, headers),
    method: visit.method,
  };
  const decision = decideAccess(requirement, record, visitor, nowSeconds);
  if (decision.kind === "sign-in") return await redirectToSignIn(visit, ports, settings);
  if (decision.kind === "ask-password") return askPassword(visit);
  if (decision.kind === "refuse") return refuse(visit, "unauthorized", HOW_TO_GET_IN, challenge(record));
  if (decision.kind === "forbid") {
    if (claims !== null) visit.seen.account = claims.sub;
    return forbidden(visit, decision.why === "role" ? NOT_YOUR_ROLE : NOT_A_MEMBER);
  }
  const { accountId, role } = decision;
  if (accountId === null) return NOBODY;
  visit.seen.account = accountId;
  if (claims !== null) beginRenewal(visit, record, claims, ports);
  return { kind: "account", accountId, email: claims?.email ?? null, role };
}

/** On a page with the way to a new session, for this one says what its account might do when it began. */
function forbidden(visit: Visit, detail: string): Response {
  const href = `/.causeway/sign-in?${new URLSearchParams({ next: returnPath(visit) }).toString()}`;
  return refuseWithRemedy(visit, "forbidden", detail, { href, text: "Sign in again" });
}

/** A request is judged once, an open socket over and over: by what its cookie said when it came. */
async function provenSession(visit: Visit, record: DirectoryRecord, ports: EdgePorts): Promise<SessionClaims | null> {
  const { session } = visit;
  if (session.proven === undefined) session.proven = await currentSession(visit, record, ports.verifySession);
  return session.proven;
}

const FOR_PROGRAMS = "This target is not open to everybody: show a service token here, or sign in on its own host.";
const HOW_TO_GET_IN = "Sign in with a browser first, or show a service token: this address is not open to everybody.";
const NOT_A_MEMBER =
  "Only people who were invited get in here. If you were invited since you signed in, open /.causeway/sign-in.";
const NOT_YOUR_ROLE =
  "Your role does not allow this. If it was changed since you signed in, open /.causeway/sign-in; otherwise ask an owner.";

const challenge = (record: DirectoryRecord): Record<string, string> => ({
  "www-authenticate": `Bearer realm="${record.host}"`,
});
