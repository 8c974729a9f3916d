/** Random secrets, their hashes, and encryption at rest. WebCrypto only, so it runs in Workers and Node. */

const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes)).replace(/[+/=]/g, (c) => (c === "+" ? "-" : c === "/" ? "_" : ""));

function fromBase64url(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replace(/[-_]/g, (c) => (c === "-" ? "+" : "/")));
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

/** An AES-256-GCM key. (The name of its type differs between Workers and Node.) */
export type SealingKey = Awaited<ReturnType<typeof crypto.subtle.deriveKey>>;

export type RandomBytes = (count: number) => Uint8Array<ArrayBuffer>;
export const systemRandom: RandomBytes = (count) => crypto.getRandomValues(new Uint8Array(count));

/** 256 random bits as 43 characters of base64url. */
export const newSecret = (random: RandomBytes = systemRandom): string => base64url(random(32));

export async function sha256Hex(text: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** AES-256-GCM key of 32 bytes in base64, as CREDENTIAL_KEY has it. Throws when it is anything else. */
export async function importSealingKey(keyBase64: string): Promise<SealingKey> {
  const raw = Uint8Array.from(atob(keyBase64), (c) => c.charCodeAt(0));
  if (raw.length !== 32) throw new Error("an encryption key must be 32 bytes, base64");
  return await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
}

/** Key made from a secret of full entropy (HKDF, RFC 5869); `purpose` keeps keys of different use apart. */
export async function deriveSealingKey(secret: string, purpose: string): Promise<SealingKey> {
  const imported = await crypto.subtle.importKey("raw", new TextEncoder().encode(secret), "HKDF", false, ["deriveKey"]);
  return await crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: new TextEncoder().encode(purpose) },
    imported,
    { name: "AES-GCM", length: 256 },
    false,
    ["encrypt", "decrypt"],
  );
}

/** `v1.<iv>.<ciphertext>`, base64url. `context` (whose secret it is) is authenticated: a sealed value copied to another row does not open. */
export async function seal(
  key: SealingKey,
  plaintext: string,
  context: string,
  random: RandomBytes = systemRandom,
): Promise<string> {
  const iv = random(12);
  const additionalData = new TextEncoder().encode(context);
  const sealed = await crypto.subtle.encrypt(
    { name: "AES-GCM", iv, additionalData },
    key,
    new TextEncoder().encode(plaintext),
  );
  return `v1.${base64url(iv)}.${base64url(new Uint8Array(sealed))}`;
}

/** Null when it was sealed under another key or context, or damaged. */
export async function open(key: SealingKey, sealed: string, context: string): Promise<string | null> {
  const [version, iv, ciphertext] = sealed.split(".");
  if (version !== "v1" || iv === undefined || ciphertext === undefined) return null;
  try {
    const plain = await crypto.subtle.decrypt(
      { name: "AES-GCM", iv: fromBase64url(iv), additionalData: new TextEncoder().encode(context) },
      key,
      fromBase64url(ciphertext),
    );
    return new TextDecoder().decode(plain);
  } catch {
    return null;
  }
}

/** HMAC-SHA-256 under a secret of full entropy, base64url. */
export async function macOf(secret: string, text: string): Promise<string> {
  const key = await crypto.subtle.importKey(
    "raw",
    new TextEncoder().encode(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  return base64url(new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text))));
}
