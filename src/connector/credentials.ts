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

/** What `causeway connector create` writes, mode 0600. */
export const credentialsFile = z.object({
  relayUrl: z.string().max(2048),
  /** `slug` or `slug@cluster`. */
  tenant: z.string().min(1).max(128),
  connector: z.string().min(1).max(64),
  keyId: z.string().min(1).max(64),
  privateKey: privateJwk,
});
export type Credentials = z.infer<typeof credentialsFile>;

export interface ReadCredentials {
  readonly credentials: Credentials;
  /** For the log: something about the file that should be better. */
  readonly warning: string | null;
}

/** Reads a credentials file. A file that everybody can read, or others can change, is refused: its key must be taken for known. */
export function readCredentials(path: string): Result<ReadCredentials, string> {
  let text: string;
  let mode: number;
  try {
    mode = statSync(path).mode;
    text = readFileSync(path, "utf8");
  } catch (error) {
    return err(`the credentials file ${path} can't be read (${codeOf(error)})`);
  }
  const exposure = process.platform === "win32" ? "private" : exposureOf(mode);
  if (exposure === "public") {
    return err(
      `the credentials file ${path} is open to other users of this machine: chmod 600 it, or better make a new key`,
    );
  }
  const parsed = parseCredentials(text);
  if (!parsed.ok) return err(`the credentials file ${path} is not valid: ${parsed.error}`);
  const warning = exposure === "group" ? `the credentials file ${path} can be read by its group: chmod 600 it` : null;
  return ok({ credentials: parsed.value, warning });
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
  const parsed = credentialsFile.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  const paths = parsed.error.issues.map((issue) => issue.path.join(".") || "the whole");
  return err(`check ${[...new Set(paths)].join(", ")}`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown";
}
