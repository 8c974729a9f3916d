import { importJWK, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import {
  SESSION_IDLE_SECONDS,
  SESSION_LIFETIME_SECONDS,
  sessionClaims,
  type RoleName,
  type SessionClaims,
} from "../protocol/portal-rpc.ts";

export interface TokenFor {
  readonly tenantId: string;
  readonly accountId: string;
  readonly sessionId: string;
  readonly accessRevision: number;
  /** Null: no member. */
  readonly role: RoleName | null;
  readonly email: string;
  /** When the session on the tenant's host began, in seconds since the epoch; a renewed token keeps it. Null: now. */
  readonly since: number | null;
}

/** Signs a tenant host's session token (protocol/portal-rpc.ts, sessionClaims). `privateJwk`: Ed25519 private JSON Web Key with `kid`. */
export async function signSessionToken(
  privateJwk: string,
  of: TokenFor,
  nowMs: number,
): Promise<{ token: string; expiresAtSeconds: number }> {
  const { kid, key } = await importSigningKey(privateJwk);
  const nowSeconds = Math.floor(nowMs / 1_000);
  const since = of.since ?? nowSeconds;
  const expiresAtSeconds = Math.min(nowSeconds + SESSION_IDLE_SECONDS, since + SESSION_LIFETIME_SECONDS);
  const { sessionId: sid, accessRevision, role, email } = of;
  const token = await new SignJWT({ sid, accessRevision, role, email })
    .setProtectedHeader({ alg: "EdDSA", kid })
    .setIssuer("causeway-portal")
    .setAudience(of.tenantId)
    .setSubject(of.accountId)
    .setIssuedAt(since)
    .setExpirationTime(expiresAtSeconds)
    .sign(key);
  return { token, expiresAtSeconds };
}

/** Claims of a token that this very key signed for that tenant and that has not run out; null for any other. */
export async function readSessionToken(
  privateJwk: string,
  token: string,
  tenantId: string,
  nowMs: number,
): Promise<SessionClaims | null> {
  const { publicKey } = await importSigningKey(privateJwk);
  try {
    const wanted = {
      algorithms: ["EdDSA"],
      issuer: "causeway-portal",
      audience: tenantId,
      currentDate: new Date(nowMs),
    };
    return sessionClaims.parse((await jwtVerify(token, publicKey, wanted)).payload);
  } catch {
    return null;
  }
}

const privateKey = z.object({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  x: z.string(),
  d: z.string(),
  kid: z.string().min(1),
});

type Key = Awaited<ReturnType<typeof importJWK>>;

async function importSigningKey(text: string): Promise<{ kid: string; key: Key; publicKey: Key }> {
  try {
    const { d, ...jwk } = privateKey.parse(JSON.parse(text));
    return { kid: jwk.kid, key: await importJWK({ ...jwk, d }, "EdDSA"), publicKey: await importJWK(jwk, "EdDSA") };
  } catch {
    // Parsers quote what they choke on, and errors are logged.
    throw new Error("SESSION_PRIVATE_KEY is no Ed25519 private JSON Web Key with a kid");
  }
}
