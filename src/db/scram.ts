import type { TransactionSql } from "postgres";

/**
 * A SCRAM-SHA-256 verifier as PostgreSQL stores it (RFC 5803 in its notation). CREATE ROLE takes it in place of the password, so the password
 * itself never travels in an SQL statement and can't end up in a server log.
 */

/** PostgreSQL's default, for versions without the setting (before 16). */
const DEFAULT_ITERATIONS = 4096;

/** The rounds that the server wants for new passwords. */
export async function scramIterations(tx: TransactionSql): Promise<number> {
  const [row] = await tx<{ value: string | null }[]>`select current_setting('scram_iterations', true) as value`;
  return scramRounds(row?.value ?? null);
}

/** `setting`: the server's `scram_iterations`; null before PostgreSQL 16. */
export const scramRounds = (setting: string | null): number => Number(setting ?? DEFAULT_ITERATIONS);

const base64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));

async function hmac(key: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, new TextEncoder().encode(text)));
}

/** `password` must be ASCII (no SASLprep here); `salt` is 16 random bytes. */
export async function scramVerifier(
  password: string,
  salt: Uint8Array<ArrayBuffer>,
  iterations = DEFAULT_ITERATIONS,
): Promise<string> {
  const imported = await crypto.subtle.importKey("raw", new TextEncoder().encode(password), "PBKDF2", false, [
    "deriveBits",
  ]);
  const salted = new Uint8Array(
    await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, imported, 256),
  );
  const storedKey = new Uint8Array(await crypto.subtle.digest("SHA-256", await hmac(salted, "Client Key")));
  const serverKey = await hmac(salted, "Server Key");
  return `SCRAM-SHA-256$${iterations}:${base64(salt)}$${base64(storedKey)}:${base64(serverKey)}`;
}
