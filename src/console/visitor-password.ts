import type { VisitorPassword } from "../policy/edge-policy.ts";
import { systemRandom } from "../db/secrets.ts";
import { newId } from "../shared/ids.ts";
import { PASSWORD_ITERATIONS } from "./limits.ts";

/** What is kept of a visitor password: the edge checks tries against it (edge-router/visitor-password.ts). */
export async function hashVisitorPassword(password: string): Promise<VisitorPassword> {
  const salt = systemRandom(16);
  const material = new TextEncoder().encode(password.normalize("NFC"));
  const imported = await crypto.subtle.importKey("raw", material, "PBKDF2", false, ["deriveBits"]);
  const algorithm = { name: "PBKDF2", hash: "SHA-256", salt, iterations: PASSWORD_ITERATIONS };
  const hash = new Uint8Array(await crypto.subtle.deriveBits(algorithm, imported, 256));
  return { id: newId("key"), saltHex: hexOf(salt), iterations: PASSWORD_ITERATIONS, hashHex: hexOf(hash) };
}

const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
