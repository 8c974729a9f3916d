/**
 * Ids: a short kind prefix and 20 lower-case base-32 characters (100 random bits), for example `ten_0123456789abcdefghjk`.
 * They are safe in URLs, file names, DNS labels (with `_` replaced) and PostgreSQL identifiers.
 */
export type IdKind =
  | "ten"
  | "wks"
  | "nod"
  | "clu"
  | "con"
  | "key"
  | "op"
  | "req"
  | "ses"
  | "usr"
  | "evt"
  | "out"
  | "tok"
  | "sec"
  | "svc"
  | "job"
  | "run";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"; // Crockford base 32: no i, l, o, u
const LENGTH = 20;
/** By ten bits: half as many texts to put together. */
const PAIRS: readonly string[] = Array.from(
  { length: 32 * 32 },
  (_, bits) => `${ALPHABET[bits >> 5]}${ALPHABET[bits & 31]}`,
);

/** `random` fills the array with random bytes; the default is the platform's cryptographic source. */
export function newId(kind: IdKind, random: (bytes: Uint8Array) => void = (b) => crypto.getRandomValues(b)): string {
  const bytes = new Uint8Array(LENGTH);
  random(bytes);
  let text = "";
  for (let i = 0; i < LENGTH; i += 2) text += PAIRS[(((bytes[i] ?? 0) & 31) << 5) | ((bytes[i + 1] ?? 0) & 31)];
  return `${kind}_${text}`;
}

export const isId = (kind: IdKind, text: string): boolean =>
  text.startsWith(`${kind}_`) && /^[0-9a-hjkmnp-tv-z]{20}$/.test(text.slice(kind.length + 1));
