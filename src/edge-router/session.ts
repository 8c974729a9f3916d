import { createLocalJWKSet, jwtVerify } from "jose";
import { publicJwks } from "../protocol/jwk.ts";
import { sessionClaims, type SessionClaims } from "../protocol/portal-rpc.ts";
import type { Clock } from "../shared/clock.ts";

/** Claims of a tenant host's session token whose signature, issuer, audience and expiry hold, or null. Revocation is policy's part. */
export type SessionVerifier = (token: string, tenantId: string) => Promise<SessionClaims | null>;

/** `jwks`: the portal's public keys as JSON; both while they rotate. Throws when it is none. */
export function createSessionVerifier(jwks: string, now: Clock): SessionVerifier {
  const { keys: published } = publicJwks.parse(JSON.parse(jwks));
  // `alg` and `use` are fixed here, not by the key.
  const keys = createLocalJWKSet({ keys: published.map(({ alg: _alg, use: _use, ...key }) => key) });
  return async (token, tenantId) => {
    try {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ["EdDSA"],
        issuer: "causeway-portal",
        audience: tenantId,
        currentDate: new Date(now()),
      });
      return sessionClaims.parse(payload);
    } catch {
      // Forged, expired, of another tenant, or of a key that is gone: all the same as no session.
      return null;
    }
  };
}
