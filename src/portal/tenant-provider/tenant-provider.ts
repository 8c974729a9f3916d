import { symmetricDecrypt, symmetricEncrypt } from "better-auth/crypto";
import { and, eq, gt, like, lt } from "drizzle-orm";
import { z } from "zod";
import type { Db } from "../../db/client.ts";
import { organization, verification } from "../../db/portal-schema.ts";
import type { Clock } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import type { Logger } from "../../shared/log.ts";
import type { PortalSession } from "../accounts.ts";
import { hexSha256 } from "../encoding.ts";
import { LIMITS } from "../limits.ts";
import { newLinkToken } from "../links.ts";
import { portalOrigin, type PortalSettings } from "../settings.ts";
import { authorizationUrl, verifiedEmail, type Begun } from "./oidc-client.ts";

/** The OpenID provider that a tenant's owner wants its members to prove themselves at. The secret is never shown. */
export interface TenantProvider {
  readonly name: string;
  readonly issuer: string;
  readonly clientId: string;
}

/**
 * A tenant's own provider is asked besides the account's own sign-in, never in place of it: a tenant could otherwise say that its people are
 * others' accounts. What the provider says counts for this tenant and this session of the portal alone.
 */
export interface TenantProviders {
  find(tenantId: string): Promise<TenantProvider | null>;
  set(tenantId: string, provider: TenantProvider, clientSecret: string): Promise<void>;
  remove(tenantId: string): Promise<void>;
  /** Whether this session may go on to the tenant: it wants nothing else, or the session has proven itself at its provider. */
  mayEnter(sessionId: string, tenantId: string): Promise<boolean>;
  /** Address at the tenant's provider to send the browser to, and back to `next` from there. Null: the provider can't be asked. */
  begin(session: PortalSession, tenantId: string, next: string): Promise<string | null>;
  /** Back from the provider. Answers where to go on to; null when it is no proof. */
  finish(session: PortalSession, state: string, code: string): Promise<string | null>;
}

/** Redirect address that the provider must know. */
export const TENANT_PROVIDER_CALLBACK = "/sign-in/tenant-provider";

const stored = z.object({
  provider: z.object({ name: z.string(), issuer: z.string(), clientId: z.string(), sealedSecret: z.string() }),
});
type Stored = z.infer<typeof stored>["provider"];

const pending = z.object({
  sessionId: z.string(),
  tenantId: z.string(),
  next: z.string(),
  nonce: z.string(),
  verifier: z.string(),
});

export interface TenantProviderPorts {
  readonly db: Db;
  readonly fetcher: typeof fetch;
  readonly log: Logger;
  readonly now: Clock;
  readonly random: (bytes: Uint8Array) => void;
}

export function createTenantProviders(
  { db, fetcher, log, now, random }: TenantProviderPorts,
  settings: PortalSettings,
): TenantProviders {
  const redirectUri = portalOrigin(settings) + TENANT_PROVIDER_CALLBACK;
  const key = settings.authSecret;

  async function read(tenantId: string): Promise<Stored | null> {
    const [row] = await db
      .select({ metadata: organization.metadata })
      .from(organization)
      .where(eq(organization.id, tenantId));
    if (row === undefined || row.metadata === null) return null;
    // Ours, so what can't be read is a fault, which must not open the tenant.
    return stored.parse(JSON.parse(row.metadata)).provider;
  }
  const write = (tenantId: string, metadata: string | null) =>
    db.update(organization).set({ metadata }).where(eq(organization.id, tenantId));

  const loginKey = async (state: string): Promise<string> => `tenant-login:${await hexSha256(state)}`;
  /** With issuer and client: a proof at a provider that was replaced is none. */
  const proofKey = async (sessionId: string, tenantId: string, { issuer, clientId }: Stored): Promise<string> =>
    `tenant-proof:${await hexSha256([sessionId, tenantId, issuer, clientId].join(" "))}`;

  async function note(identifier: string, value: string, seconds: number): Promise<void> {
    await db
      .delete(verification)
      .where(and(like(verification.identifier, "tenant-%"), lt(verification.expiresAt, new Date(now()))));
    const expiresAt = new Date(now() + seconds * 1_000);
    await db.insert(verification).values({ id: newId("key"), identifier, value, expiresAt });
  }
  const isOpen = (identifier: string) =>
    and(eq(verification.identifier, identifier), gt(verification.expiresAt, new Date(now())));

  return {
    async find(tenantId) {
      const found = await read(tenantId);
      return found === null ? null : { name: found.name, issuer: found.issuer, clientId: found.clientId };
    },
    async set(tenantId, { name, issuer, clientId }, clientSecret) {
      const sealedSecret = await symmetricEncrypt({ key, data: clientSecret });
      await write(tenantId, JSON.stringify({ provider: { name, issuer, clientId, sealedSecret } }));
    },
    async remove(tenantId) {
      await write(tenantId, null);
    },
    async mayEnter(sessionId, tenantId) {
      const provider = await read(tenantId);
      if (provider === null) return true;
      const rows = await db
        .select({ id: verification.id })
        .from(verification)
        .where(isOpen(await proofKey(sessionId, tenantId, provider)))
        .limit(1);
      return rows.length > 0;
    },
    async begin(session, tenantId, next) {
      const provider = await read(tenantId);
      if (provider === null) return null;
      const begun: Begun = { state: newLinkToken(random), nonce: newLinkToken(random), verifier: newLinkToken(random) };
      const { issuer, clientId } = provider;
      try {
        const url = await authorizationUrl(
          { issuer, clientId, clientSecret: "" },
          begun,
          redirectUri,
          session.email,
          fetcher,
        );
        const { nonce, verifier } = begun;
        const value = JSON.stringify({ sessionId: session.sessionId, tenantId, next, nonce, verifier });
        await note(await loginKey(begun.state), value, LIMITS.providerSignInSeconds);
        return url;
      } catch (error) {
        log.warn("a tenant's provider can't be asked", { tenantId, error: error instanceof Error ? error.name : "" });
        return null;
      }
    },
    async finish(session, state, code) {
      // Taken out whatever comes of it: a second time never works.
      const [row] = await db
        .delete(verification)
        .where(isOpen(await loginKey(state)))
        .returning();
      if (row === undefined) return null;
      const { sessionId, tenantId, next, nonce, verifier } = pending.parse(JSON.parse(row.value));
      const provider = await read(tenantId);
      if (sessionId !== session.sessionId || provider === null) return null;
      const { issuer, clientId, sealedSecret } = provider;
      try {
        const clientSecret = await symmetricDecrypt({ key, data: sealedSecret });
        const begun = { state, nonce, verifier };
        const email = await verifiedEmail({ issuer, clientId, clientSecret }, code, begun, redirectUri, fetcher);
        if (email !== session.email.toLowerCase()) return null;
      } catch (error) {
        log.warn("a tenant's provider proved nothing", { tenantId, error: error instanceof Error ? error.name : "" });
        return null;
      }
      await note(await proofKey(sessionId, tenantId, provider), "1", LIMITS.providerProofSeconds);
      return next;
    },
  };
}
