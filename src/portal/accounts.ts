import { and, eq, gt, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { member, organization, session } from "../db/portal-schema.ts";
import { HEADER } from "../protocol/headers.ts";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { createAccountTries } from "./account-tries.ts";
import { AUTH_PATH, createAuth } from "./auth.ts";
import { LIMITS } from "./limits.ts";
import { portalOrigin, type PortalSettings } from "./settings.ts";

/** Who is signed in at the portal's own host. */
export interface PortalSession {
  readonly sessionId: string;
  readonly accountId: string;
  readonly email: string;
}

export type SignInResult =
  | { readonly kind: "signed-in"; readonly setCookies: readonly string[] }
  | { readonly kind: "wrong" }
  | { readonly kind: "too-many"; readonly retryAfterSeconds: number };

/** Accounts, the portal's sessions and memberships. Made for one invocation, with its own database client. */
export interface Accounts {
  current(request: Request): Promise<PortalSession | null>;
  /** `request`: where address and browser are taken from; its body is not read. */
  signIn(request: Request, email: string, password: string): Promise<SignInResult>;
  /** Answers the cookies that end the session in the browser. */
  signOut(request: Request): Promise<readonly string[]>;
  isMember(accountId: string, tenantId: string): Promise<boolean>;
  /** Names (`slug` or `slug@cluster`) of the account's tenants. */
  tenantsOf(accountId: string): Promise<string[]>;
  /** Whether a portal session has neither ended nor expired. */
  isLive(sessionId: string): Promise<boolean>;
  /** Ends a portal session by its id; unknown ones are fine. */
  endSession(sessionId: string): Promise<void>;
}

export function createAccounts(db: Db, settings: PortalSettings, log: Logger, now: Clock): Accounts {
  const auth = createAuth(db, settings, log, false);
  const tries = createAccountTries(db, now);
  const origin = portalOrigin(settings);

  /** Through its router, which checks rates and origins; plain calls would not. Our own page has been checked by the caller. */
  function call(path: string, request: Request, body: Record<string, string>): Promise<Response> {
    const headers = new Headers({ "content-type": "application/json", origin });
    for (const name of ["cookie", "user-agent", HEADER.clientAddress]) {
      const value = request.headers.get(name);
      if (value !== null) headers.set(name, value);
    }
    return auth.handler(
      new Request(`${origin}${AUTH_PATH}${path}`, { method: "POST", headers, body: JSON.stringify(body) }),
    );
  }

  return {
    async current(request) {
      const found = await auth.api.getSession({ headers: request.headers });
      return found === null ? null : { sessionId: found.session.id, accountId: found.user.id, email: found.user.email };
    },
    async signIn(request, email, password) {
      const retryAfterSeconds = await tries.begin(email);
      if (retryAfterSeconds !== null) return { kind: "too-many", retryAfterSeconds };
      const response = await call("/sign-in/email", request, { email, password });
      if (response.ok) {
        await tries.forget(email);
        return { kind: "signed-in", setCookies: response.headers.getSetCookie() };
      }
      if (response.status === 429) {
        await tries.takeBack(email);
        return { kind: "too-many", retryAfterSeconds: Number(response.headers.get("x-retry-after") ?? "60") };
      }
      // 400 and 401 are wrong input; anything else must not look like a wrong password.
      if (response.status >= 500) throw new Error(`better-auth answered ${response.status}`);
      return { kind: "wrong" };
    },
    async signOut(request) {
      return (await call("/sign-out", request, {})).headers.getSetCookie();
    },
    async isMember(accountId, tenantId) {
      const rows = await db
        .select({ id: member.id })
        .from(member)
        .where(and(eq(member.userId, accountId), eq(member.organizationId, tenantId)))
        .limit(1);
      return rows.length > 0;
    },
    async tenantsOf(accountId) {
      const rows = await db
        .select({ name: organization.name })
        .from(member)
        .innerJoin(organization, eq(organization.id, member.organizationId))
        .where(eq(member.userId, accountId))
        .orderBy(organization.name)
        .limit(LIMITS.listedTenants);
      return rows.map((row) => row.name);
    },
    async isLive(sessionId) {
      const rows = await db
        .select({ id: session.id })
        .from(session)
        // By the database's clock, also because Hyperdrive then keeps no copy of the answer.
        .where(and(eq(session.id, sessionId), gt(session.expiresAt, sql`now()`)))
        .limit(1);
      return rows.length > 0;
    },
    async endSession(sessionId) {
      await db.delete(session).where(eq(session.id, sessionId));
    },
  };
}
