/**
 * A SCRAM-SHA-256 verifier as PostgreSQL stores it (RFC 5803 in its notation). CREATE ROLE takes it in place of the password, so the password
 * itself never travels in an SQL statement and can't end up in a server log.
 */
const ITERATIONS = 4096; // PostgreSQL's default; our passwords are 256 random bits, more rounds would add nothing

const base64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));

async function hmac(key: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, new TextEncoder().encode(text)));
}

/** `password` must be ASCII (no SASLprep here); `salt` is 16 random bytes. */
export async function scramVerifier(password: string, salt: Uint8Array<ArrayBuffer>): Promise<string> {
  const imported = await crypto.subtle.importKey("raw", new TextEncoder().encode(password), "PBKDF2", false, [
    "deriveBits",
  ]);
  const salted = new Uint8Array(
    await crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations: ITERATIONS }, imported, 256),
  );
  const storedKey = new Uint8Array(await crypto.subtle.digest("SHA-256", await hmac(salted, "Client Key")));
  const serverKey = await hmac(salted, "Server Key");
  return `SCRAM-SHA-256$${ITERATIONS}:${base64(salt)}$${base64(storedKey)}:${base64(serverKey)}`;
}
