import { readFileSync, statSync } from "node:fs";
import { z } from "zod";
import { err, ok, type Result } from "../shared/result.ts";

/** A private key as a JSON Web Key: Ed25519 (RFC 8037) or P-256. */
const privateJwk = z.union([
  z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string().length(43), d: z.string().length(43) }),
  z.object({
    kty: z.literal("EC"),
    crv: z.literal("P-256"),
    x: z.string().length(43),
    y: z.string().length(43),
    d: z.string().length(43),
  }),
]);
export type PrivateJwk = z.infer<typeof privateJwk>;

const relayUrl = z.string().max(2048);
/** `slug` or `slug@cluster`. */
const tenant = z.string().min(1).max(128);
const connector = z.string().min(1).max(64);
/** Visible ASCII, as HTTP Basic and forms carry it. */
const clientSecret = z.string().regex(/^[\x21-\x7e]{8,1024}$/);

/** What `causeway connector create` writes, mode 0600. */
export const keyCredentials = z.object({
  relayUrl,
  tenant,
  connector,
  keyId: z.string().min(1).max(64),
  privateKey: privateJwk,
});
/** The same with a client secret. Without a connector's name the relay tells by the secret which one it is. */
const secretCredentials = z.object({ relayUrl, tenant, connector: connector.optional(), clientSecret });
export type KeyCredentials = z.infer<typeof keyCredentials>;
export type Credentials = KeyCredentials | z.infer<typeof secretCredentials>;

export interface ReadCredentials {
  readonly credentials: Credentials;
  /** For the log: something about the file that should be better. */
  readonly warning: string | null;
}

/** Reads a credentials file. A file that everybody can read, or others can change, is refused: its key must be taken for known. */
export function readCredentials(path: string): Result<ReadCredentials, string> {
  const read = readPrivateFile("credentials", path);
  if (!read.ok) return read;
  const parsed = parseCredentials(read.value.text);
  if (!parsed.ok) return err(`the credentials file ${path} is not valid: ${parsed.error}`);
  return ok({ credentials: parsed.value, warning: read.value.warning });
}

/** A file that holds a client secret and nothing else but blanks around it. */
export function readSecretFile(path: string): Result<{ secret: string; warning: string | null }, string> {
  const read = readPrivateFile("secret", path);
  if (!read.ok) return read;
  const secret = clientSecret.safeParse(read.value.text.trim());
  if (!secret.success) return err(`the secret file ${path} does not hold one secret of 8 to 1024 visible characters`);
  return ok({ secret: secret.data, warning: read.value.warning });
}

/** `what` names the kind of file in messages. */
export function readPrivateFile(what: string, path: string): Result<{ text: string; warning: string | null }, string> {
  let text: string;
  let mode: number;
  try {
    mode = statSync(path).mode;
    text = readFileSync(path, "utf8");
  } catch (error) {
    return err(`the ${what} file ${path} can't be read (${codeOf(error)})`);
  }
  const exposure = process.platform === "win32" ? "private" : exposureOf(mode);
  if (exposure === "public") {
    return err(
      `the ${what} file ${path} is open to other users of this machine: chmod 600 it, or better make a new ${what === "credentials" ? "key" : "one"}`,
    );
  }
  const warning = exposure === "group" ? `the ${what} file ${path} can be read by its group: chmod 600 it` : null;
  return ok({ text, warning });
}

/** Group-readable is how orchestrators mount secrets, so it is only worth a warning. */
export function exposureOf(mode: number): "private" | "group" | "public" {
  if ((mode & 0o027) !== 0) return "public";
  return (mode & 0o040) === 0 ? "private" : "group";
}

/** Errors name the member that is wrong, never its value. */
export function parseCredentials(text: string): Result<Credentials, string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return err("it is not JSON");
  }
  const hasSecret = typeof value === "object" && value !== null && "clientSecret" in value;
  const parsed = (hasSecret ? secretCredentials : keyCredentials).safeParse(value);
  if (parsed.success) return ok(parsed.data);
  const paths = parsed.error.issues.map((issue) => issue.path.join(".") || "the whole");
  return err(`check ${[...new Set(paths)].join(", ")}`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown";
}
