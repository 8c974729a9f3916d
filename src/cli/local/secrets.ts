import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from "jose";
import { z } from "zod";
import { publicJwk } from "../../protocol/jwk.ts";
import { readJson, writeJson } from "./files.ts";

const privateJwk = z.object({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  x: z.string(),
  d: z.string(),
  kid: z.string(),
});
export type PrivateJwk = z.infer<typeof privateJwk>;

/** All secrets of one local stack, made once and kept in `secrets.json` (mode 0600), so that data and sessions outlive a restart. */
const stackSecrets = z.object({
  superuserPassword: z.string(),
  rolePasswords: z.object({
    causeway_console: z.string(),
    causeway_provisioner: z.string(),
    causeway_portal: z.string(),
  }),
  /** Signs the edge's proofs to nodes. */
  proofKey: privateJwk,
  /** Signs tenant-host sessions. */
  sessionKey: privateJwk,
  /** 32 bytes, base64: encrypts tenants' database passwords at rest. */
  credentialKey: z.string(),
  /** 32 bytes, base64: signs access tokens of connectors. A stack that was made before there were any gets a new one at each start. */
  relayTokenKey: z.string().default(() => randomBytes(32).toString("base64")),
  /** better-auth's secret. */
  authSecret: z.string(),
  /** The management API's first token; null until the control database has it. */
  apiToken: z.string().nullable(),
  /** Demo members by tenant. */
  members: z.record(z.string(), z.object({ email: z.string(), password: z.string() })),
});
export type StackSecrets = z.infer<typeof stackSecrets>;

export const randomSecret = (): string => randomBytes(32).toString("base64url");

/** Null when there are none (any more), or when they are damaged. */
export const readSecrets = (path: string): StackSecrets | null =>
  existsSync(path) ? readJson(path, stackSecrets) : null;

export const writeSecrets = (path: string, secrets: StackSecrets): void => writeJson(path, secrets);

export async function makeSecrets(): Promise<StackSecrets> {
  return {
    superuserPassword: randomSecret(),
    rolePasswords: {
      causeway_console: randomSecret(),
      causeway_provisioner: randomSecret(),
      causeway_portal: randomSecret(),
    },
    proofKey: await newSigningKey(),
    sessionKey: await newSigningKey(),
    credentialKey: randomBytes(32).toString("base64"),
    relayTokenKey: randomBytes(32).toString("base64"),
    authSecret: randomSecret(),
    apiToken: null,
    members: {},
  };
}

/** An Ed25519 key pair as a private JWK; its id is the RFC 7638 thumbprint. */
export async function newSigningKey(): Promise<PrivateJwk> {
  const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const jwk = await exportJWK(privateKey);
  return privateJwk.parse({ ...jwk, kid: await calculateJwkThumbprint(jwk) });
}

/** The public half, in the shape that the protocol takes. */
export const publicHalf = ({ kty, crv, x, kid }: PrivateJwk): z.infer<typeof publicJwk> =>
  publicJwk.parse({ kty, crv, x, kid, alg: "EdDSA", use: "sig" });
