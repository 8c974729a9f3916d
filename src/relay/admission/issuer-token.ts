import { importJWK, jwtVerify } from "jose";
import { ASSERTION_CLOCK_SKEW_SECONDS } from "../../protocol/assertion.ts";
import type { IssuerJwk } from "../../protocol/jwk.ts";
import type { ConnectorGrant, TenantSettings } from "../../protocol/lane.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { joseReason } from "./assertion.ts";
import { claimsOf } from "./identity.ts";

export interface VerifiedIssuerToken {
  readonly grant: ConnectorGrant;
  readonly issuer: string;
  readonly expiresAtMs: number;
}

/**
 * Whether a token of an issuer that the tenant trusts proves one of its connectors: the connector whose `issuerSubject` is the token's
 * subject. `connector`: the name that was claimed beside it; null: none was. An error is for the log only.
 */
export async function verifyIssuerToken(
  token: string,
  connector: string | null,
  settings: TenantSettings,
  grants: Iterable<ConnectorGrant>,
  nowMs: number,
): Promise<Result<VerifiedIssuerToken, string>> {
  const claims = claimsOf(token);
  const trusted = settings.issuers.find(({ issuer }) => issuer === claims?.iss);
  if (claims === null || trusted === undefined) return err("not a token of an issuer that the tenant trusts");
  const keys = trusted.keys.filter(({ kid }) => claims.kid === null || kid === claims.kid);
  const [jwk] = keys;
  if (jwk === undefined || keys.length > 1) return err("no such key of the issuer");
  try {
    const { algorithms, key } = await publicKey(jwk);
    const { payload } = await jwtVerify(token, key, {
      algorithms,
      issuer: trusted.issuer,
      audience: trusted.audience,
      requiredClaims: ["exp", "sub"],
      clockTolerance: ASSERTION_CLOCK_SKEW_SECONDS,
      currentDate: new Date(nowMs),
    });
    for (const grant of grants) {
      if (grant.issuerSubject === null || grant.issuerSubject !== payload.sub) continue;
      if (connector !== null && grant.name !== connector) continue;
      return ok({ grant, issuer: trusted.issuer, expiresAtMs: (payload.exp ?? 0) * 1_000 });
    }
    return err("no connector has this subject");
  } catch (error) {
    return err(joseReason(error));
  }
}

async function publicKey(jwk: IssuerJwk) {
  switch (jwk.kty) {
    case "RSA":
      return { algorithms: ["RS256"], key: await importJWK({ kty: "RSA", n: jwk.n, e: jwk.e }, "RS256") };
    case "EC":
      return { algorithms: ["ES256"], key: await importJWK({ kty: "EC", crv: jwk.crv, x: jwk.x, y: jwk.y }, "ES256") };
    case "OKP":
      break;
  }
  return { algorithms: ["EdDSA", "Ed25519"], key: await importJWK({ kty: "OKP", crv: jwk.crv, x: jwk.x }, "EdDSA") };
}
