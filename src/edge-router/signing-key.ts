import { importJWK, SignJWT, type JWTPayload } from "jose";
import { z } from "zod";
import { publicJwks, type PublicJwk, type PublicJwks } from "../protocol/jwk.ts";

/**
 * The edge's signing key. Proofs, identities and password passes are told apart by their issuer, which everybody who verifies one checks.
 * While the key is changed, the next public key is published first (PROOF_PUBLIC_KEYS) and only then signed with.
 */
export interface SigningKey {
  sign(claims: JWTPayload): Promise<string>;
  /** Public keys whose signatures are good: the own one and those that were published beside it. */
  publicKeys(): PublicJwks;
}

/**
 * `privateJwk`: Ed25519 private key as a JSON Web Key with `kid`. `published`: a JSON Web Key set, empty or absent for none. Rejects at the
 * first use when either is no such thing.
 */
export function createSigningKey(privateJwk: string, published: string | undefined): SigningKey {
  let known: { readonly jwk: PublicJwk; readonly key: Awaited<ReturnType<typeof importJWK>> } | null = null;
  let keys: PublicJwks | null = null;
  return {
    async sign(claims) {
      // Only the finished key is kept: a promise that belongs to another request may never settle in this one.
      known ??= { jwk: publicHalf(parsePrivate(privateJwk)), key: await importJWK(parsePrivate(privateJwk), "EdDSA") };
      return await new SignJWT(claims).setProtectedHeader({ alg: "EdDSA", kid: known.jwk.kid }).sign(known.key);
    },
    publicKeys() {
      keys ??= withOwn(publicHalf(parsePrivate(privateJwk)), published);
      return keys;
    },
  };
}

const privateKey = z.object({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  x: z.string(),
  d: z.string(),
  kid: z.string().min(1),
});

const publicHalf = ({ kty, crv, x, kid }: z.infer<typeof privateKey>): PublicJwk => ({ kty, crv, x, kid });

function parsePrivate(text: string): z.infer<typeof privateKey> {
  try {
    return privateKey.parse(JSON.parse(text));
  } catch {
    // Parsers quote what they choke on, and errors are logged.
    throw new Error("PROOF_PRIVATE_KEY is no Ed25519 private JSON Web Key with a kid");
  }
}

function withOwn(own: PublicJwk, published: string | undefined): PublicJwks {
  const others = published === undefined || published === "" ? [] : publicJwks.parse(JSON.parse(published)).keys;
  return { keys: [own, ...others.filter(({ kid }) => kid !== own.kid)] };
}
