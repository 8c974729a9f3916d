import { createHash, timingSafeEqual } from "node:crypto";
import { bearerToken } from "../admission/identity.ts";
import type { ServiceToken } from "./config.ts";

/** The service token that a visitor holds, by its name; null: none. Hashes are compared in constant time, all of them. */
export function serviceTokenOf(
  authorization: string | null,
  tokens: readonly ServiceToken[],
  nowMs: number,
): string | null {
  const token = bearerToken(authorization);
  if (token === null) return null;
  const hash = createHash("sha256").update(token).digest();
  let found: string | null = null;
  for (const { name, sha256, expiresAtMs } of tokens) {
    const same = timingSafeEqual(hash, sha256);
    if (same && (expiresAtMs === null || expiresAtMs > nowMs)) found = name;
  }
  return found;
}
