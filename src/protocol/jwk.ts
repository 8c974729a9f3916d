import { z } from "zod";

/** A public key as a JSON Web Key (RFC 7517): Ed25519 (RFC 8037) or P-256. Never a private one: `d` is refused. */
export const publicJwk = z.union([
  z.strictObject({
    kty: z.literal("OKP"),
    crv: z.literal("Ed25519"),
    x: z.string().length(43),
    kid: z.string().min(1).max(64),
    alg: z.literal("EdDSA").optional(),
    use: z.literal("sig").optional(),
  }),
  z.strictObject({
    kty: z.literal("EC"),
    crv: z.literal("P-256"),
    x: z.string().length(43),
    y: z.string().length(43),
    kid: z.string().min(1).max(64),
    alg: z.literal("ES256").optional(),
    use: z.literal("sig").optional(),
  }),
]);
export type PublicJwk = z.infer<typeof publicJwk>;

export const publicJwks = z.object({ keys: z.array(publicJwk).max(8) });
export type PublicJwks = z.infer<typeof publicJwks>;

/** A key of an outside issuer: also RSA, which most of them sign with (RS256). Modulus of 2,048 to 4,096 bits. */
export const issuerJwk = z.union([
  ...publicJwk.options,
  z.strictObject({
    kty: z.literal("RSA"),
    n: z.string().min(342).max(683),
    e: z.string().min(2).max(8),
    kid: z.string().min(1).max(128),
  }),
]);
export type IssuerJwk = z.infer<typeof issuerJwk>;
