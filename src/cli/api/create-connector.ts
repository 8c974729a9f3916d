import { mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";
import { writeJson } from "../local/files.ts";
import { newSigningKey, publicHalf } from "../local/secrets.ts";
import type { Api } from "./client.ts";
import { connector, operation } from "./types.ts";

/**
 * Makes a key pair, registers its public half with the management API and writes the credentials file (mode 0600) that
 * `causeway connect` reads. The private key never leaves this machine. A refused registration leaves no file.
 */
export async function createConnector(
  api: Api,
  wanted: { tenant: string; name: string; relayUrl: string; file: string; targets?: readonly string[] },
) {
  const key = await newSigningKey();
  const { tenant, name, targets, file } = wanted;
  const { kid, ...privateKey } = key;
  mkdirSync(dirname(file), { recursive: true });
  writeJson(file, { relayUrl: new URL(wanted.relayUrl).origin, tenant, connector: name, keyId: kid, privateKey });
  try {
    const body = { tenant, name, key: publicHalf(key), ...(targets === undefined ? {} : { targets }) };
    return await api.post("/connectors", body, z.object({ operation, connector }));
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  }
}
