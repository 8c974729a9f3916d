import { PROOF_ISSUER, PROOF_LIFETIME_SECONDS } from "../protocol/proof.ts";
import type { Clock } from "../shared/clock.ts";
import { LIMITS } from "./limits.ts";
import { createLru } from "./lru.ts";
import type { SigningKey } from "./signing-key.ts";
import type { Soon } from "./soon.ts";

/** Signs (or takes from its cache) the edge's proof that a node accepts for this host and tenant. */
export type ProofSigner = (of: { host: string; tenantId: string; nodeId: string }) => Soon<string>;

export function createProofSigner(key: SigningKey, now: Clock): ProofSigner {
  const proofs = createLru<{ token: string; expiresAtSeconds: number }>(LIMITS.cachedProofs);

  return ({ host, tenantId, nodeId }) => {
    const nowSeconds = Math.floor(now() / 1000);
    const cacheKey = `${host} ${tenantId} ${nodeId}`;
    const cached = proofs.get(cacheKey);
    if (cached !== undefined && cached.expiresAtSeconds - nowSeconds > LIMITS.proofRenewSeconds) return cached.token;

    const expiresAtSeconds = nowSeconds + PROOF_LIFETIME_SECONDS;
    const claims = { tenant: tenantId, host, iss: PROOF_ISSUER, aud: nodeId, iat: nowSeconds, exp: expiresAtSeconds };
    return key.sign(claims).then((token) => {
      proofs.set(cacheKey, { token, expiresAtSeconds });
      return token;
    });
  };
}
