import type { DirectoryRecord } from "../policy/record.ts";
import { HEADER } from "../protocol/headers.ts";
import { IDENTITY_ISSUER, IDENTITY_LIFETIME_SECONDS } from "../protocol/identity.ts";
import type { RoleName } from "../protocol/portal-rpc.ts";
import type { Clock } from "../shared/clock.ts";
import { LIMITS } from "./limits.ts";
import { createLru } from "./lru.ts";
import type { SigningKey } from "./signing-key.ts";

/** Who came in, as far as the edge has looked. */
export type Identity =
  | { readonly kind: "nobody" }
  | {
      readonly kind: "account";
      readonly accountId: string;
      readonly email: string | null;
      readonly role: RoleName | null;
    }
  | { readonly kind: "service-token"; readonly tokenId: string }
  /** No visitor: a background job of the tenant. */
  | { readonly kind: "job"; readonly jobId: string };

export const NOBODY: Identity = { kind: "nobody" };

type Fields = readonly (readonly [name: string, value: string])[];

/** Headers for the next hop that say who the visitor is: plain ones, and a signed token with the same. None for nobody. */
export type IdentityFields = (identity: Identity, record: DirectoryRecord) => Promise<Fields>;

export function createIdentityFields(key: SigningKey, now: Clock): IdentityFields {
  const signed = createLru<{ token: string; expiresAtSeconds: number }>(LIMITS.cachedIdentities);

  async function tokenOf(identity: Exclude<Identity, { kind: "nobody" }>, record: DirectoryRecord): Promise<string> {
    const nowSeconds = Math.floor(now() / 1_000);
    const claims =
      identity.kind === "account"
        ? {
            sub: identity.accountId,
            role: identity.role,
            ...(identity.email !== null && { email: identity.email }),
          }
        : { sub: identity.kind === "job" ? identity.jobId : identity.tokenId };
    const said = { kind: identity.kind, tenant: record.slug, cluster: record.cluster, ...claims };
    const cacheKey = `${record.tenantId} ${JSON.stringify(said)}`;
    const cached = signed.get(cacheKey);
    if (cached !== undefined && cached.expiresAtSeconds - nowSeconds > LIMITS.proofRenewSeconds) return cached.token;
    const expiresAtSeconds = nowSeconds + IDENTITY_LIFETIME_SECONDS;
    const token = await key.sign({
      ...said,
      iss: IDENTITY_ISSUER,
      aud: record.tenantId,
      iat: nowSeconds,
      exp: expiresAtSeconds,
    });
    signed.set(cacheKey, { token, expiresAtSeconds });
    return token;
  }

  return async (identity, record) => {
    if (identity.kind === "nobody") return [];
    const token = await tokenOf(identity, record);
    if (identity.kind === "service-token") {
      return [
        [HEADER.serviceToken, identity.tokenId],
        [HEADER.identity, token],
      ];
    }
    if (identity.kind === "job") {
      return [
        [HEADER.job, identity.jobId],
        [HEADER.identity, token],
      ];
    }
    const { accountId, email, role } = identity;
    return [
      [HEADER.account, accountId],
      // Addresses beyond ASCII can't stand in a header; the signed token has them all the same.
      ...(email !== null && /^[\x21-\x7e]+$/.test(email) ? [[HEADER.email, email] as const] : []),
      ...(role !== null ? [[HEADER.role, role] as const] : []),
      [HEADER.identity, token],
    ];
  };
}
