import { createHash, generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "../envoy/files.ts";
import { createSealer } from "../sealed.ts";

/**
 * The key of the node's account at an ACME server (PEM), made at the first use and kept sealed: whoever has it can have certificates for the
 * node's names made and revoked. One that does not open is replaced: a new account costs nothing.
 */
export async function accountKey(storeDir: string, storeKey: string, directoryUrl: string): Promise<string> {
  const sealer = createSealer(storeKey);
  const file = join(storeDir, `acme-${createHash("sha256").update(directoryUrl).digest("hex").slice(0, 16)}.key`);
  const sealed = await readFile(file, "utf8").catch(() => null);
  const kept = sealed === null ? null : sealer.open(sealed);
  if (kept !== null) return kept;
  const made = generateKeyPairSync("ec", { namedCurve: "P-256" })
    .privateKey.export({ type: "pkcs8", format: "pem" })
    .toString();
  await replaceFile(file, sealer.seal(made), 0o600);
  return made;
}
