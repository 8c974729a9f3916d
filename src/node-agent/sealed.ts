import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** Text that only holders of a key can read or change: AES-256-GCM, a new nonce each time. */
export interface Sealer {
  seal(text: string): string;
  /** Null: cut, changed, or of another key. */
  open(sealed: string): string | null;
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export const newStoreKey = (): string => randomBytes(KEY_BYTES).toString("base64url");

/** `storeKey`: of `newStoreKey`. */
export function createSealer(storeKey: string): Sealer {
  const key = Buffer.from(storeKey, "base64url");
  return {
    seal(text) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      const content = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), content]).toString("base64");
    },
    open(sealed) {
      const bytes = Buffer.from(sealed, "base64");
      if (bytes.length < NONCE_BYTES + TAG_BYTES) return null;
      const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, NONCE_BYTES));
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString(
          "utf8",
        );
      } catch {
        return null;
      }
    },
  };
}
