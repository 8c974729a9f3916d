import { importJWK, SignJWT } from "jose";
import { z } from "zod";
import { SESSION_LIFETIME_SECONDS, type RoleName } from "../protocol/portal-rpc.ts";

export interface TokenFor {
  readonly tenantId: string;
  readonly accountId: string;
  readonly sessionId: string;
  readonly accessRevision: number;
  /** Null: no member. */
  readonly role: RoleName | null;
  readonly email: string;
}

/** Signs a tenant host's session token (protocol/portal-rpc.ts, sessionClaims). `privateJwk`: Ed25519 private JSON Web Key with `kid`. */
export async function signSessionToken(
  privateJwk: string,
  of: TokenFor,
  nowMs: number,
): Promise<{ token: string; expiresAtSeconds: number }> {
  const { kid, key } = await importSigningKey(privateJwk);
  const issuedAt = Math.floor(nowMs / 1_000);
  const expiresAtSeconds = issuedAt + SESSION_LIFETIME_SECONDS;
  const { sessionId: sid, accessRevision, role, email } = of;
  const token = await new SignJWT({ sid, accessRevision, role, email })
    .setProtectedHeader({ alg: "EdDSA", kid })
    .setIssuer("causeway-portal")
    .setAudience(of.tenantId)
    .setSubject(of.accountId)
    .setIssuedAt(issuedAt)
    .setExpirationTime(expiresAtSeconds)
    .sign(key);
  return { token, expiresAtSeconds };
}

const privateKey = z.object({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  x: z.string(),
  d: z.string(),
  kid: z.string().min(1),
});

async function importSigningKey(text: string): Promise<{ kid: string; key: Awaited<ReturnType<typeof importJWK>> }> {
  try {
    const jwk = privateKey.parse(JSON.parse(text));
    return { kid: jwk.kid, key: await importJWK(jwk, "EdDSA") };
  } catch {
    // Parsers quote what they choke on, and errors are logged.
    throw new Error("SESSION_PRIVATE_KEY is no Ed25519 private JSON Web Key with a kid");
  }
}
