import { z } from "zod";

/**
 * The edge's proof to a node: a JWT (RFC 7519), EdDSA with Ed25519, in the header `causeway-proof`. The node's Envoy verifies signature,
 * issuer, audience and expiry, and takes the host (its scope key and the authority for the service) from the verified claim.
 */
export const PROOF_ISSUER = "causeway-edge";

export const proofClaims = z.object({
  iss: z.literal(PROOF_ISSUER),
  /** The node's id. */
  aud: z.string(),
  /** The tenant's id. */
  tenant: z.string(),
  /** The visitor's host: lower case, no port. */
  host: z.string(),
  iat: z.number(),
  /** Seconds since the epoch; at most PROOF_LIFETIME_SECONDS after iat. */
  exp: z.number(),
});
export type ProofClaims = z.infer<typeof proofClaims>;

/** Long enough to be cached per (host, tenant, node), short enough that a leaked one is soon worthless. */
export const PROOF_LIFETIME_SECONDS = 300;
