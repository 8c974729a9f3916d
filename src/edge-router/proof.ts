import { importJWK, SignJWT } from "jose";
import { z } from "zod";
import { PROOF_ISSUER, PROOF_LIFETIME_SECONDS } from "../protocol/proof.ts";
import type { Clock } from "../shared/clock.ts";
import { LIMITS } from "./limits.ts";
import { createLru } from "./lru.ts";

/** Signs (or takes from its cache) the edge's proof that a node accepts for this host and tenant. */
export type ProofSigner = (of: { host: string; tenantId: string; nodeId: string }) => Promise<string>;

/** `privateJwk`: Ed25519 private key as a JSON Web Key with `kid`. Rejects at the first use when it is none. */
export function createProofSigner(privateJwk: string, now: Clock): ProofSigner {
  const proofs = createLru<{ token: string; expiresAtSeconds: number }>(LIMITS.cachedProofs);
  let key: { kid: string; key: Awaited<ReturnType<typeof importJWK>> } | null = null;

  return async ({ host, tenantId, nodeId }) => {
    const nowSeconds = Math.floor(now() / 1000);
    const cacheKey = `${host} ${tenantId} ${nodeId}`;
    const cached = proofs.get(cacheKey);
    if (cached !== undefined && cached.expiresAtSeconds - nowSeconds > LIMITS.proofRenewSeconds) return cached.token;

    // Only finished values are kept: a promise that belongs to another request may never settle in this one.
    key ??= await importSigningKey(privateJwk);
    const expiresAtSeconds = nowSeconds + PROOF_LIFETIME_SECONDS;
    const token = await new SignJWT({ tenant: tenantId, host })
      .setProtectedHeader({ alg: "EdDSA", kid: key.kid })
      .setIssuer(PROOF_ISSUER)
      .setAudience(nodeId)
      .setIssuedAt(nowSeconds)
      .setExpirationTime(expiresAtSeconds)
      .sign(key.key);
    proofs.set(cacheKey, { token, expiresAtSeconds });
    return token;
  };
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
    throw new Error("PROOF_PRIVATE_KEY is no Ed25519 private JSON Web Key with a kid");
  }
}
