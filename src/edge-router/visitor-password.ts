import { createLocalJWKSet, jwtVerify } from "jose";
import { z } from "zod";
import type { VisitorPassword } from "../policy/edge-policy.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import type { Clock } from "../shared/clock.ts";
import { LIMITS } from "./limits.ts";
import { createLru } from "./lru.ts";
import type { SigningKey } from "./signing-key.ts";

/**
 * The tenant's visitor password: one for all who may come in without a name. Whoever showed it gets a pass, a signed cookie of this host; it
 * ends with its time, with the password, and when everybody's sessions are ended.
 */
export interface Passes {
  /** For a cookie; `maxAgeSeconds` is its life. */
  issue(record: DirectoryRecord, password: VisitorPassword): Promise<{ token: string; maxAgeSeconds: number }>;
  isGood(token: string, record: DirectoryRecord, password: VisitorPassword): Promise<boolean>;
}

const PASS_ISSUER = "causeway-edge-pass";

const passClaims = z.object({
  /** Which of the tenant's passwords was shown. */
  pw: z.string(),
  accessRevision: z.number().int(),
  exp: z.number(),
});

export function createPasses(key: SigningKey, now: Clock): Passes {
  const read = createLru<z.infer<typeof passClaims>>(LIMITS.cachedPasses);
  let keys: ReturnType<typeof createLocalJWKSet> | null = null;

  async function claimsOf(token: string, tenantId: string): Promise<z.infer<typeof passClaims> | null> {
    const cacheKey = `${tenantId} ${token}`;
    const known = read.get(cacheKey);
    if (known !== undefined) return known;
    keys ??= createLocalJWKSet({ keys: key.publicKeys().keys.map(({ alg: _alg, use: _use, ...jwk }) => jwk) });
    try {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ["EdDSA"],
        issuer: PASS_ISSUER,
        audience: tenantId,
        currentDate: new Date(now()),
      });
      const claims = passClaims.parse(payload);
      read.set(cacheKey, claims);
      return claims;
    } catch {
      // Forged, over, of another tenant, or of a key that is gone.
      return null;
    }
  }

  return {
    async issue({ tenantId, accessRevision }, { id }) {
      const iat = Math.floor(now() / 1_000);
      const exp = iat + LIMITS.passSeconds;
      const token = await key.sign({ pw: id, accessRevision, iss: PASS_ISSUER, aud: tenantId, iat, exp });
      return { token, maxAgeSeconds: LIMITS.passSeconds };
    },
    async isGood(token, { tenantId, accessRevision }, { id }) {
      if (token.length > LIMITS.passLength) return false;
      const claims = await claimsOf(token, tenantId);
      return (
        claims !== null && claims.pw === id && claims.accessRevision >= accessRevision && claims.exp * 1_000 > now()
      );
    },
  };
}

/** Whether it is the password, in the time that its hash takes. */
export async function isVisitorPassword(
  typed: string,
  { saltHex, iterations, hashHex }: VisitorPassword,
): Promise<boolean> {
  const material = new TextEncoder().encode(typed.normalize("NFC"));
  const imported = await crypto.subtle.importKey("raw", material, "PBKDF2", false, ["deriveBits"]);
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt: bytesOf(saltHex), iterations };
  const derived = new Uint8Array(await crypto.subtle.deriveBits(algorithm, imported, 256));
  const wanted = bytesOf(hashHex);
  let difference = derived.length ^ wanted.length;
  for (const [index, byte] of derived.entries()) difference |= byte ^ (wanted[index] ?? 0);
  return difference === 0;
}

const bytesOf = (hex: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
