import { jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { err, ok, type Result } from "../../shared/result.ts";
import { ACCESS_TOKEN_KEY_BYTES_MIN } from "../limits.ts";
import { joseReason } from "./assertion.ts";
import { claimsOf } from "./identity.ts";

/** What an access token of ours says: who was proved by which credential. */
export interface AccessTokenClaims {
  readonly tenantId: string;
  readonly connectorId: string;
  readonly clientId: string;
  readonly credential: { readonly kind: "key" | "secret" | "issuer"; readonly id: string };
  readonly expiresAtMs: number;
}

/**
 * Access tokens of the relay's own token endpoint: JWTs with an HMAC (HS256) under a key that both lanes have, so that what one issued the
 * other takes. They are good for the origin that was asked. A token says which credential it was got with: it ends with that.
 */
export interface AccessTokens {
  issue(claims: AccessTokenClaims, audience: string, nowMs: number, id: string): Promise<string>;
  verify(token: string, audience: string, nowMs: number): Promise<Result<AccessTokenClaims, string>>;
}

const payloadShape = z.object({
  sub: z.string(),
  client_id: z.string(),
  tid: z.string(),
  cred: z.object({ kind: z.enum(["key", "secret", "issuer"]), id: z.string() }),
  exp: z.number(),
});

/**
 * `setting`: base64 of at least 32 random bytes; or several of them with commas, to change keys: the first signs, all are taken. Throws when it
 * is anything else.
 */
export function createAccessTokens(setting: string): AccessTokens {
  const secrets = setting.split(",").map((part) => Uint8Array.from(atob(part.trim()), (c) => c.charCodeAt(0)));
  if (secrets.some(({ length }) => length < ACCESS_TOKEN_KEY_BYTES_MIN))
    throw new Error(`RELAY_TOKEN_KEY must be at least ${ACCESS_TOKEN_KEY_BYTES_MIN} random bytes, base64`);
  let named: Promise<{ kid: string; key: Uint8Array }[]> | null = null;
  const keys = () => (named ??= Promise.all(secrets.map(async (key) => ({ kid: await keyId(key), key }))));
  return {
    async issue(claims, audience, nowMs, id) {
      const [signing] = await keys();
      if (signing === undefined) throw new Error("there is no key");
      return await new SignJWT({ client_id: claims.clientId, tid: claims.tenantId, cred: claims.credential })
        .setProtectedHeader({ alg: "HS256", kid: signing.kid, typ: "at+jwt" })
        .setIssuer(audience)
        .setAudience(audience)
        .setSubject(claims.connectorId)
        .setIssuedAt(Math.floor(nowMs / 1_000))
        .setExpirationTime(Math.floor(claims.expiresAtMs / 1_000))
        .setJti(id)
        .sign(signing.key);
    },
    async verify(token, audience, nowMs) {
      const kid = claimsOf(token)?.kid ?? null;
      const known = (await keys()).find((one) => one.kid === kid);
      if (known === undefined) return err("no such key of ours");
      try {
        const { payload } = await jwtVerify(token, known.key, {
          algorithms: ["HS256"],
          typ: "at+jwt",
          issuer: audience,
          audience,
          currentDate: new Date(nowMs),
        });
        const { sub, client_id: clientId, tid, cred, exp } = payloadShape.parse(payload);
        return ok({ tenantId: tid, connectorId: sub, clientId, credential: cred, expiresAtMs: exp * 1_000 });
      } catch (error) {
        return err(joseReason(error));
      }
    },
  };
}

/** Names a key without giving anything of it away: the start of its hash. */
async function keyId(key: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", key));
  return [...hash.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
