import { betterAuth } from "better-auth/minimal";
import { drizzleAdapter } from "better-auth/adapters/drizzle";
import { organization } from "better-auth/plugins/organization";
import type { Db } from "../db/client.ts";
import * as schema from "../db/portal-schema.ts";
import { HEADER } from "../protocol/headers.ts";
import { newId } from "../shared/ids.ts";
import type { Logger } from "../shared/log.ts";
import { LIMITS } from "./limits.ts";
import { portalOrigin, type PortalSettings } from "./settings.ts";

/**
 * better-auth as the portal uses it, for one invocation. Its routes are not mounted: pages of ours call it, so only what they offer exists.
 * `sign-up`: for accounts that an operator or a mailed link vouches for; no form of a visitor reaches it otherwise.
 */
export function createAuth(db: Db, settings: PortalSettings, log: Logger, allow: "sign-up" | "no-sign-up") {
  const isHttps = settings.publicScheme === "https";
  return betterAuth({
    baseURL: portalOrigin(settings),
    basePath: AUTH_PATH,
    secret: settings.authSecret,
    // Without transactions a sign-up that fails half-way leaves an account that nobody can sign in to.
    database: drizzleAdapter(db, { provider: "pg", schema, transaction: true }),
    emailAndPassword: {
      enabled: true,
      disableSignUp: allow === "no-sign-up",
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
      },
      ipAddress: { ipAddressHeaders: [HEADER.clientAddress] },
      database: { generateId: ({ model }) => newId(model === "user" ? "usr" : model === "session" ? "ses" : "key") },
    },
    plugins: [organization({ allowUserToCreateOrganization: false })],
    telemetry: { enabled: false },
    // The message only: what else it would log may be somebody's address.
    logger: { level: "error", log: (_level, message) => log.error("better-auth", { message }) },
  });
}

export const AUTH_PATH = "/api/auth";
