import { decodeJwt, decodeProtectedHeader, importJWK, jwtVerify } from "jose";
import {
  ASSERTION_CLOCK_SKEW_SECONDS,
  ASSERTION_LIFETIME_SECONDS,
  nodeAssertion,
  type NodeAssertion,
} from "../protocol/assertion.ts";
import type { PublicJwk } from "../protocol/jwk.ts";
import { isId } from "../shared/ids.ts";
import { err, ok, type Result } from "../shared/result.ts";

/** Id of the node that an assertion names, before anything of it was checked: good enough to find the channel that must check it. */
export function claimedNode(token: string): string | null {
  try {
    const claims = nodeAssertion.safeParse(decodeJwt(token));
    if (!claims.success || claims.data.iss !== claims.data.sub || !isId("nod", claims.data.iss)) return null;
    return claims.data.iss;
  } catch {
    return null;
  }
}

export interface AdmittedAgent {
  readonly kid: string;
  readonly jti: string;
  /** Until when the assertion must be remembered as used. */
  readonly rememberUntilMs: number;
}

/** Whether the assertion proves this node: key, signature, audience, times. That it was not used before is the caller's to check. The error is for the log. */
export async function verifyNodeAssertion(
  token: string,
  expected: { readonly nodeId: string; readonly audience: string; readonly keys: readonly PublicJwk[] },
  nowMs: number,
): Promise<Result<AdmittedAgent, string>> {
  const jwk = expected.keys.find(({ kid }) => kid === keyId(token));
  if (jwk === undefined) return err("no such key");
  const verified = await verify(token, jwk, expected, nowMs);
  if (!verified.ok) return verified;
  const { jti, exp } = verified.value;
  return ok({ kid: jwk.kid, jti, rememberUntilMs: (exp + ASSERTION_CLOCK_SKEW_SECONDS + 1) * 1_000 });
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
  jwk: PublicJwk,
  { nodeId, audience }: { readonly nodeId: string; readonly audience: string },
  nowMs: number,
): Promise<Result<NodeAssertion, string>> {
  try {
    const algorithm = jwk.kty === "OKP" ? "EdDSA" : "ES256";
    const { kty, crv, x } = jwk;
    const key = await importJWK(jwk.kty === "EC" ? { kty, crv, x, y: jwk.y } : { kty, crv, x }, algorithm);
    const { payload } = await jwtVerify(token, key, {
      algorithms: [algorithm],
      audience,
      issuer: nodeId,
      subject: nodeId,
      clockTolerance: ASSERTION_CLOCK_SKEW_SECONDS,
      currentDate: new Date(nowMs),
    });
    const claims = nodeAssertion.safeParse(payload);
    if (!claims.success) return err("claims are missing");
    if (claims.data.exp - claims.data.iat > ASSERTION_LIFETIME_SECONDS) return err("it lives too long");
    if (claims.data.iat > nowMs / 1_000 + ASSERTION_CLOCK_SKEW_SECONDS) return err("it is from the future");
    return ok(claims.data);
  } catch (error) {
    // jose's codes name the check that failed (ERR_JWT_EXPIRED, ...), nothing of the token.
    return err(error instanceof Error && "code" in error ? String(error.code) : "the signature can't be checked");
  }
}

/** SHA-256, hex. */
export async function sha256Hex(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Equal texts of equal length, in a time that does not depend on where they differ. */
export function sameText(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let index = 0; index < a.length; index++) difference |= a.charCodeAt(index) ^ b.charCodeAt(index);
  return difference === 0;
}
