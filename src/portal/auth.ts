import { betterAuth } from "better-auth/minimal";
import { drizzleAdapter } from "better-auth/adapters/drizzle";
import { genericOAuth, type GenericOAuthConfig } from "better-auth/plugins/generic-oauth";
import { organization } from "better-auth/plugins/organization";
import { z } from "zod";
import type { Db } from "../db/client.ts";
import * as schema from "../db/portal-schema.ts";
import { HEADER } from "../protocol/headers.ts";
import { newId } from "../shared/ids.ts";
import type { Logger } from "../shared/log.ts";
import { LIMITS } from "./limits.ts";
import { portalOrigin, type OidcSettings, type PortalSettings } from "./settings.ts";

/**
 * better-auth as the portal uses it, for one invocation. Its routes are not mounted: pages of ours call it, so only what they offer exists.
 * `sign-up`: for accounts that an operator or a mailed link vouches for; no form of a visitor reaches it otherwise. `provider`: for signing in
 * with the outside provider, whose description is fetched then.
 */
export function createAuth(
  db: Db,
  settings: PortalSettings,
  log: Logger,
  allow: "sign-up" | "no-sign-up" | "provider",
) {
  const isHttps = settings.publicScheme === "https";
  return betterAuth({
    baseURL: portalOrigin(settings),
    basePath: AUTH_PATH,
    secret: settings.authSecret,
    // Without transactions a sign-up that fails half-way leaves an account that nobody can sign in to.
    database: drizzleAdapter(db, { provider: "pg", schema, transaction: true }),
    emailAndPassword: {
      enabled: true,
      disableSignUp: allow !== "sign-up",
      autoSignIn: false,
      minPasswordLength: LIMITS.passwordMinLength,
      maxPasswordLength: LIMITS.passwordMaxLength,
    },
    session: { expiresIn: LIMITS.portalSessionSeconds, updateAge: LIMITS.portalSessionRenewSeconds },
    // In the database, for isolates come and go and an attacker reaches many.
    rateLimit: {
      enabled: true,
      storage: "database",
      customRules: {
        "/sign-in/email": { max: LIMITS.signInTries.max, window: LIMITS.signInTries.windowSeconds },
        "/change-password": { max: LIMITS.signInTries.max, window: LIMITS.signInTries.windowSeconds },
      },
    },
    advanced: {
      // Tenants' hosts are siblings below this domain: the prefix keeps them from planting a session cookie here.
      useSecureCookies: false,
      cookies: {
        session_token: {
          name: isHttps ? "__Host-causeway-portal" : "causeway-portal",
          attributes: { secure: isHttps, httpOnly: true, sameSite: "lax", path: "/" },
        },
        // Ties the way to the outside provider and back to this browser.
        state: {
          name: isHttps ? "__Host-causeway-portal-state" : "causeway-portal-state",
          attributes: { secure: isHttps, httpOnly: true, sameSite: "lax", path: "/" },
        },
      },
      ipAddress: { ipAddressHeaders: [HEADER.clientAddress] },
      database: { generateId: ({ model }) => newId(model === "user" ? "usr" : model === "session" ? "ses" : "key") },
    },
    // Accounts are linked by address only if both sides have verified it (requireLocalEmailVerified is better-auth's default, and we say so).
    account: { encryptOAuthTokens: true, accountLinking: { enabled: true, requireLocalEmailVerified: true } },
    plugins: [
      organization({ allowUserToCreateOrganization: false }),
      genericOAuth({
        config: allow === "provider" && settings.oidc !== null ? [providerConfig(settings.oidc, settings)] : [],
      }),
    ],
    telemetry: { enabled: false },
    // The message only: what else it would log may be somebody's address.
    logger: { level: "error", log: (_level, message) => log.error("better-auth", { message }) },
  });
}

/** A provider's word on an address; a text such as "true" is none. */
const verifiedProfile = z.object({ email: z.email().max(254), emailVerified: z.literal(true) });

function providerConfig(oidc: OidcSettings, settings: PortalSettings): GenericOAuthConfig {
  return {
    providerId: PROVIDER_ID,
    discoveryUrl: `${oidc.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`,
    clientId: oidc.clientId,
    clientSecret: oidc.clientSecret,
    scopes: ["openid", "email"],
    pkce: true,
    requireIdTokenVerification: true,
    disableSignUp: settings.signUp !== "open",
    // An address that the provider did not verify counts as none, so it neither finds nor makes an account.
    mapProfileToUser: (profile) => {
      const verified = verifiedProfile.safeParse(profile);
      return verified.success ? { name: verified.data.email } : { email: "" };
    },
  };
}

export const PROVIDER_ID = "oidc";
export const AUTH_PATH = "/api/auth";
