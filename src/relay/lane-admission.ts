import { decodeJwt, decodeProtectedHeader, importJWK, jwtVerify } from "jose";
import {
  ASSERTION_CLOCK_SKEW_SECONDS,
  ASSERTION_LIFETIME_SECONDS,
  connectorAssertion,
  type ConnectorAssertion,
} from "../protocol/assertion.ts";
import type { ConnectorGrant } from "../protocol/lane.ts";
import { err, ok, type Result } from "../shared/result.ts";

/** An assertion before its signature was checked: good enough to find the tenant that must check it, for nothing else. */
export interface ClaimedIdentity {
  /** `slug` or `slug@cluster`. */
  readonly tenant: string;
  readonly slug: string;
  readonly cluster: string | null;
  readonly connector: string;
}

const IDENTITY = /^(([a-z0-9-]{1,63})(?:@([a-z0-9-]{1,63}))?)\/([A-Za-z0-9._-]{1,64})$/;

export const bearerToken = (authorization: string | null): string | null =>
  /^bearer ([A-Za-z0-9._-]{1,8192})$/i.exec(authorization ?? "")?.[1] ?? null;

/** Null when it is not an assertion of a connector at all. */
export function claimedIdentity(token: string): ClaimedIdentity | null {
  const claims = unverified(token);
  if (claims === null || claims.iss !== claims.sub) return null;
  const [, tenant, slug, cluster, connector] = IDENTITY.exec(claims.iss) ?? [];
  if (tenant === undefined || slug === undefined || connector === undefined) return null;
  return { tenant, slug, cluster: cluster ?? null, connector };
}

function unverified(token: string): ConnectorAssertion | null {
  try {
    const parsed = connectorAssertion.safeParse(decodeJwt(token));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

export interface Admitted {
  readonly grant: ConnectorGrant;
  /** Key that signed. */
  readonly kid: string;
  /** Names this assertion among all of the lane, and until when it must be remembered. */
  readonly assertion: string;
  readonly rememberUntilMs: number;
}

/** For the log; the connector is only told which of the two it is. */
export type AdmissionError = { readonly kind: "unauthorized" | "forbidden"; readonly why: string };

/**
 * Whether the assertion proves one of the tenant's connectors: key, signature, audience, times. That it was not used before is the
 * caller's to check, at once and without waiting for anything in between.
 */
export async function verifyAssertion(
  token: string,
  audience: string,
  grants: Iterable<ConnectorGrant>,
  nowMs: number,
): Promise<Result<Admitted, AdmissionError>> {
  const refused = (why: string) => err({ kind: "unauthorized", why } as const);
  const identity = claimedIdentity(token);
  if (identity === null) return refused("not an assertion");
  const kid = keyId(token);
  if (kid === null) return refused("no key id");
  for (const grant of grants) {
    if (grant.tenant !== identity.tenant || grant.name !== identity.connector) continue;
    const jwk = grant.keys.find((key) => key.kid === kid);
    if (jwk === undefined) continue;
    const verified = await verify(token, jwk, audience, `${identity.tenant}/${identity.connector}`, nowMs);
    if (!verified.ok) return refused(verified.error);
    const claims = verified.value;
    if (grant.disabled) return err({ kind: "forbidden", why: "the connector is disabled" });
    return ok({
      grant,
      kid,
      assertion: `${grant.connectorId} ${claims.jti}`,
      rememberUntilMs: (claims.exp + ASSERTION_CLOCK_SKEW_SECONDS + 1) * 1_000,
    });
  }
  return refused("no such connector or key");
}

function keyId(token: string): string | null {
  try {
    return decodeProtectedHeader(token).kid ?? null;
  } catch {
    return null;
  }
}

async function verify(
  token: string,
  jwk: ConnectorGrant["keys"][number],
  audience: string,
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
    // jose's codes name the check that failed (ERR_JWT_EXPIRED, ...), nothing of the token.
    return err(error instanceof Error && "code" in error ? String(error.code) : "the signature can't be checked");
  }
}
