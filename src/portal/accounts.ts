import { and, asc, desc, eq, gt, ne, sql } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { account, member, session, user } from "../db/portal-schema.ts";
import { HEADER } from "../protocol/headers.ts";
import { roleName, type RoleName } from "../protocol/portal-rpc.ts";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { createTries } from "./tries.ts";
import { AUTH_PATH, createAuth } from "./auth.ts";
import { LIMITS } from "./limits.ts";
import { portalOrigin, type PortalSettings } from "./settings.ts";

/** Who is signed in at the portal's own host. */
export interface PortalSession {
  readonly sessionId: string;
  readonly accountId: string;
  readonly email: string;
  /** Whether it is known that the account's owner reads this address's mail. */
  readonly isVerified: boolean;
}

/** An account at an outside OpenID provider that signs in to one here. */
export interface LinkedAccount {
  readonly id: string;
  /** The provider's, as on its button; the issuer's host where it is not set up any more. */
  readonly name: string;
  readonly issuer: string;
  readonly createdAt: Date;
  /** Whether the account can be signed in to without it. */
  readonly isSpare: boolean;
}

/** A sign-in of an account at the portal, as its owner sees it. */
export interface SessionView {
  readonly id: string;
  readonly createdAt: Date;
  readonly address: string | null;
  readonly userAgent: string | null;
}

export type ChangePasswordResult =
  | { readonly kind: "changed"; readonly setCookies: readonly string[] }
  | { readonly kind: "wrong" }
  | { readonly kind: "too-many"; readonly retryAfterSeconds: number };

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
  /** What a tenant's hosts learn of an account; `role` is null when it is no member. Null: there is no such account. */
  seenBy(accountId: string, tenantId: string): Promise<{ email: string; role: RoleName | null } | null>;
  /** Whether a portal session has neither ended nor expired. */
  isLive(sessionId: string): Promise<boolean>;
  /** Ends a portal session by its id; unknown ones are fine. */
  endSession(sessionId: string): Promise<void>;
  /** The account's live sessions, newest first. */
  sessionsOf(accountId: string): Promise<SessionView[]>;
  /** Ends one of the account's own sessions; others' are left alone. */
  endOwnSession(accountId: string, sessionId: string): Promise<void>;
  /** Ends all sessions of the account, this one too; tenants' hosts follow as they ask whether theirs still lasts. */
  endAllSessions(accountId: string): Promise<void>;
  /** Whether the account has a password, or only other ways to sign in. */
  hasPassword(accountId: string): Promise<boolean>;
  /** Oldest first. */
  linkedTo(accountId: string): Promise<LinkedAccount[]>;
  /**
   * Takes an outside account away from this one, and ends all other sessions: whoever held it may have opened them. `needed`: there would be no
   * way left to sign in, nothing was changed. `unknown`: this account has no such link.
   */
  unlink(of: PortalSession, linkId: string): Promise<"unlinked" | "needed" | "unknown">;
  /** Sets another password, ends all other sessions and gives this browser a new one. `request` as in `signIn`. */
  changePassword(request: Request, of: PortalSession, current: string, next: string): Promise<ChangePasswordResult>;
}

export function createAccounts(db: Db, settings: PortalSettings, log: Logger, now: Clock): Accounts {
  const auth = createAuth(db, settings, log, "no-sign-up");
  const tries = createTries(db, now, "account:", LIMITS.accountTries);
  const origin = portalOrigin(settings);

  /** Through its router, which checks rates and origins; plain calls would not. Our own page has been checked by the caller. */
  function call(path: string, request: Request, body: Record<string, string | boolean>): Promise<Response> {
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
      return found === null || found.session.createdAt.getTime() <= now() - LIMITS.portalSessionMaxSeconds * 1_000
        ? null
        : {
            sessionId: found.session.id,
            accountId: found.user.id,
            email: found.user.email,
            isVerified: found.user.emailVerified,
          };
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
    async seenBy(accountId, tenantId) {
      const [row] = await db
        .select({ email: user.email, role: member.role })
        .from(user)
        .leftJoin(member, and(eq(member.userId, user.id), eq(member.organizationId, tenantId)))
        .where(eq(user.id, accountId))
        .limit(1);
      // A role that this version does not know counts least.
      return row === undefined
        ? null
        : { email: row.email, role: row.role === null ? null : roleName.catch("viewer").parse(row.role) };
    },
    async isLive(sessionId) {
      const rows = await db
        .select({ id: session.id })
        .from(session)
        // By the database's clock, also because Hyperdrive then keeps no copy of the answer.
        .where(
          and(
            eq(session.id, sessionId),
            gt(session.expiresAt, sql`now()`),
            gt(session.createdAt, sql`now() - make_interval(secs => ${LIMITS.portalSessionMaxSeconds})`),
          ),
        )
        .limit(1);
      return rows.length > 0;
    },
    async endSession(sessionId) {
      await db.delete(session).where(eq(session.id, sessionId));
    },
    async sessionsOf(accountId) {
      return await db
        .select({
          id: session.id,
          createdAt: session.createdAt,
          address: session.ipAddress,
          userAgent: session.userAgent,
        })
        .from(session)
        .where(and(eq(session.userId, accountId), gt(session.expiresAt, sql`now()`)))
        .orderBy(desc(session.createdAt))
        .limit(LIMITS.listedSessions);
    },
    async endOwnSession(accountId, sessionId) {
      await db.delete(session).where(and(eq(session.id, sessionId), eq(session.userId, accountId)));
    },
    async endAllSessions(accountId) {
      await db.delete(session).where(eq(session.userId, accountId));
    },
    async hasPassword(accountId) {
      const rows = await db
        .select({ id: account.id })
        .from(account)
        .where(and(eq(account.userId, accountId), eq(account.providerId, PASSWORD)))
        .limit(1);
      return rows.length > 0;
    },
    async linkedTo(accountId) {
      const ways = await waysIn(db, accountId);
      return ways
        .filter((way) => way.providerId !== PASSWORD)
        .map(({ id, issuer, createdAt }) => {
          const name = providerName(issuer, settings);
          return { id, issuer, createdAt, name, isSpare: hasAnother(ways, id, settings) };
        });
    },
    async unlink({ accountId, sessionId }, linkId) {
      return await db.transaction(async (tx) => {
        // Two at once must not take the last two ways in.
        await tx.select({ id: user.id }).from(user).where(eq(user.id, accountId)).for("update");
        const ways = await waysIn(tx, accountId);
        if (!ways.some(({ id, providerId }) => id === linkId && providerId !== PASSWORD)) return "unknown";
        if (!hasAnother(ways, linkId, settings)) return "needed";
        await tx.delete(account).where(and(eq(account.id, linkId), eq(account.userId, accountId)));
        await tx.delete(session).where(and(eq(session.userId, accountId), ne(session.id, sessionId)));
        return "unlinked";
      });
    },
    async changePassword(request, of, current, next) {
      // The same count as for signing in: an open browser must not be a place to guess.
      const retryAfterSeconds = await tries.begin(of.email);
      if (retryAfterSeconds !== null) return { kind: "too-many", retryAfterSeconds };
      const body = { currentPassword: current, newPassword: next, revokeOtherSessions: true };
      const response = await call("/change-password", request, body);
      if (response.ok) {
        await tries.forget(of.email);
        return { kind: "changed", setCookies: response.headers.getSetCookie() };
      }
      if (response.status === 429) {
        return { kind: "too-many", retryAfterSeconds: Number(response.headers.get("x-retry-after") ?? "60") };
      }
      if (response.status >= 500) throw new Error(`better-auth answered ${response.status}`);
      return { kind: "wrong" };
    },
  };
}

/** How better-auth calls the password's row. */
const PASSWORD = "credential";

type WayIn = Pick<typeof account.$inferSelect, "id" | "issuer" | "providerId" | "createdAt">;

/** All rows that an account can be signed in by, oldest first. */
async function waysIn(db: Db, accountId: string): Promise<WayIn[]> {
  return await db
    .select({
      id: account.id,
      issuer: account.issuer,
      providerId: account.providerId,
      createdAt: account.createdAt,
    })
    .from(account)
    .where(eq(account.userId, accountId))
    .orderBy(asc(account.createdAt));
}

/** Whether there is a way in beside `linkId` that works: a password, or an account at the provider that is set up now. */
const hasAnother = (ways: readonly WayIn[], linkId: string, { oidc }: PortalSettings): boolean =>
  ways.some(({ id, providerId, issuer }) => id !== linkId && (providerId === PASSWORD || issuer === oidc?.issuer));

function providerName(issuer: string, { oidc }: PortalSettings): string {
  if (oidc?.issuer === issuer) return oidc.name;
  return URL.canParse(issuer) ? new URL(issuer).host : issuer;
}
