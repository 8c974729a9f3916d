import type { ConnectorGrant } from "../../protocol/lane.ts";

/**
 * The connector that a client secret proves, and the secret's id. `connector`: the name that was claimed; null: whoever has the secret. All
 * hashes are compared, each in constant time, so that how long it takes says nothing.
 */
export async function findBySecret(
  secret: string,
  connector: string | null,
  grants: Iterable<ConnectorGrant>,
  nowMs: number,
): Promise<{ grant: ConnectorGrant; secretId: string; expiresAtMs: number | null } | null> {
  const given = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret)));
  let found: { grant: ConnectorGrant; secretId: string; expiresAtMs: number | null } | null = null;
  for (const grant of grants) {
    for (const { id, sha256, expiresAtMs } of grant.secrets) {
      const isIt = equal(given, sha256) && (connector === null || grant.name === connector);
      if (isIt && (expiresAtMs === null || expiresAtMs > nowMs)) found = { grant, secretId: id, expiresAtMs };
    }
  }
  return found;
}

function equal(hash: Uint8Array, hex: string): boolean {
  let difference = hash.length * 2 === hex.length ? 0 : 1;
  for (const [at, byte] of hash.entries()) difference |= byte ^ Number.parseInt(hex.slice(at * 2, at * 2 + 2), 16);
  return difference === 0;
}
