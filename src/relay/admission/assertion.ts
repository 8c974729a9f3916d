import { importJWK, jwtVerify } from "jose";
import {
  ASSERTION_CLOCK_SKEW_SECONDS,
  ASSERTION_LIFETIME_SECONDS,
  connectorAssertion,
  type ConnectorAssertion,
} from "../../protocol/assertion.ts";
import type { ConnectorGrant } from "../../protocol/lane.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { claimsOf, clientIdOf } from "./identity.ts";

/** An assertion that proves a connector by one of its registered keys. */
export interface VerifiedAssertion {
  readonly grant: ConnectorGrant;
  /** Key that signed. */
  readonly kid: string;
  /** Names this assertion among all of the lane, and until when it must be remembered. */
  readonly assertion: string;
  readonly rememberUntilMs: number;
}

/**
 * Whether the assertion proves one of the connectors: key, signature, audience, times. That it was not used before is the caller's to check,
 * at once and without waiting for anything in between. An error is for the log only.
 */
export async function verifyAssertion(
  token: string,
  audience: string | string[],
  grants: Iterable<ConnectorGrant>,
  nowMs: number,
): Promise<Result<VerifiedAssertion, string>> {
  const claims = claimsOf(token);
  if (claims === null || claims.kid === null) return err("not an assertion");
  for (const grant of grants) {
    if (clientIdOf(grant) !== claims.iss) continue;
    const jwk = grant.keys.find(({ kid }) => kid === claims.kid);
    if (jwk === undefined) continue;
    const verified = await verify(token, jwk, audience, claims.iss, nowMs);
    if (!verified.ok) return verified;
    return ok({
      grant,
      kid: jwk.kid,
      assertion: `${grant.connectorId} ${verified.value.jti}`,
      rememberUntilMs: (verified.value.exp + ASSERTION_CLOCK_SKEW_SECONDS + 1) * 1_000,
    });
  }
  return err("no such connector or key");
}

async function verify(
  token: string,
  jwk: ConnectorGrant["keys"][number],
  audience: string | string[],
  identity: string,
  nowMs: number,
): Promise<Result<ConnectorAssertion, string>> {
  try {
    const algorithms = jwk.kty === "OKP" ? ["EdDSA", "Ed25519"] : ["ES256"];
    const { kty, crv, x } = jwk;
    const key = await importJWK(jwk.kty === "EC" ? { kty, crv, x, y: jwk.y } : { kty, crv, x }, algorithms[0]);
    const { payload } = await jwtVerify(token, key, {
      algorithms,
      audience,
      issuer: identity,
      subject: identity,
      clockTolerance: ASSERTION_CLOCK_SKEW_SECONDS,
      currentDate: new Date(nowMs),
    });
    const claims = connectorAssertion.safeParse(payload);
    if (!claims.success) return err("claims are missing");
    if (claims.data.exp - claims.data.iat > ASSERTION_LIFETIME_SECONDS) return err("it lives too long");
    if (claims.data.iat > nowMs / 1_000 + ASSERTION_CLOCK_SKEW_SECONDS) return err("it is from the future");
    return ok(claims.data);
  } catch (error) {
    return err(joseReason(error));
  }
}

/** jose's codes name the check that failed (ERR_JWT_EXPIRED, ...), nothing of the token. */
export const joseReason = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "the signature can't be checked";
