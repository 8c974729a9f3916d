import { importJWK, SignJWT } from "jose";
import { ASSERTION_LIFETIME_SECONDS } from "../protocol/assertion.ts";
import { newId } from "../shared/ids.ts";
import type { PrivateJwk } from "./credentials.ts";

export interface AssertionIdentity {
  /** Issuer and subject: `<tenant>/<connector>` for the relay, the client's id for another issuer. */
  readonly subject: string;
  readonly keyId: string;
  readonly privateKey: PrivateJwk;
  /** Scheme and host of the relay, no path; or the issuer's name of another one. */
  readonly audience: string;
}

/** Makes the assertion for one dial (protocol/assertion.ts); each is used once. The key is imported on the first call. */
export function createAsserter(identity: AssertionIdentity, now: () => number): () => Promise<string> {
  const alg = identity.privateKey.kty === "OKP" ? "EdDSA" : "ES256";
  let key: ReturnType<typeof importJWK> | null = null;
  return async () => {
    key ??= importJWK(identity.privateKey, alg);
    const seconds = Math.floor(now() / 1000);
    return new SignJWT()
      .setProtectedHeader({ alg, kid: identity.keyId })
      .setIssuer(identity.subject)
      .setSubject(identity.subject)
      .setAudience(identity.audience)
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + ASSERTION_LIFETIME_SECONDS)
      .setJti(newId("tok"))
      .sign(await key);
  };
}
