import { exportJWK, generateKeyPair, type JWK } from "jose";
import { publicJwk, type PublicJwk } from "../../src/protocol/jwk.ts";

/** An Ed25519 key pair that is made for one run, and gone with it. */
export interface BenchKey {
  readonly public: PublicJwk;
  /** With its `kid`. */
  readonly private: JWK;
}

export async function newKey(kid: string): Promise<BenchKey> {
  const pair = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { kty, crv, x } = await exportJWK(pair.publicKey);
  return {
    public: publicJwk.parse({ kty, crv, x, kid, alg: "EdDSA", use: "sig" }),
    private: { ...(await exportJWK(pair.privateKey)), kid },
  };
}
