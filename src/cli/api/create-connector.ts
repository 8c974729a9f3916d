import { mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";
import { writeJson } from "../local/files.ts";
import { newSigningKey, publicHalf } from "../local/secrets.ts";
import type { Api } from "./client.ts";
import { connectorPath } from "./find-connector.ts";
import { connector, operation, shownSecret } from "./types.ts";

const started = z.object({ operation, connector });

interface Site {
  readonly tenant: string;
  readonly name: string;
  readonly relayUrl: string;
  /** Credentials file to write. */
  readonly file: string;
}

interface Wanted extends Site {
  readonly targets?: readonly string[];
  /** Default: a key pair. */
  readonly kind?: "key" | "secret";
}

/**
 * Registers a connector and writes the credentials file (mode 0600) that `causeway connect` reads. Of a key pair only the public half leaves
 * this machine; a secret is made by the API and shown to us alone. A refused registration leaves no file.
 */
export async function createConnector(api: Api, wanted: Wanted): Promise<z.infer<typeof started>> {
  const { tenant, name, targets } = wanted;
  const body = { tenant, name, ...(targets === undefined ? {} : { targets }) };
  if (wanted.kind === "secret") {
    const answer = await api.post("/connectors", { ...body, secret: {} }, started.extend({ secret: shownSecret }));
    writeSecretFile(wanted, answer.secret.secret);
    return { operation: answer.operation, connector: answer.connector };
  }
  return await withNewKey(wanted, (key) => api.post("/connectors", { ...body, key }, started));
}

/** Registers one more key pair of a connector, and writes it as above. Answers the new key's id too. */
export async function addKey(
  api: Api,
  to: { readonly id: string },
  wanted: Site,
): Promise<z.infer<typeof started> & { readonly keyId: string }> {
  return await withNewKey(wanted, async (key) => {
    const answer = await api.post(`${connectorPath(to)}/keys`, { key }, started);
    return { ...answer, keyId: key.kid };
  });
}

async function withNewKey<T>(wanted: Site, register: (key: ReturnType<typeof publicHalf>) => Promise<T>): Promise<T> {
  const key = await newSigningKey();
  const { kid, ...privateKey } = key;
  write(wanted.file, { ...site(wanted), keyId: kid, privateKey });
  try {
    return await register(publicHalf(key));
  } catch (error) {
    rmSync(wanted.file, { force: true });
    throw error;
  }
}

/** A credentials file with a client secret. */
export function writeSecretFile(wanted: Site, secret: string): void {
  write(wanted.file, { ...site(wanted), clientSecret: secret });
}

const site = ({ relayUrl, tenant, name }: Omit<Site, "file">) => ({
  relayUrl: new URL(relayUrl).origin,
  tenant,
  connector: name,
});

function write(file: string, content: object): void {
  mkdirSync(dirname(file), { recursive: true });
  writeJson(file, content);
}
