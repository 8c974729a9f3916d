import { createHash, X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { replaceIfChanged } from "./envoy/files.ts";
import { LINK_AUTHORITY, LINK_CERTIFICATE, renderAuthority } from "./envoy/link-tls.ts";
import { checkPair, renderCertificate } from "./envoy/tls.ts";
import { LIMITS } from "./limits.ts";

/** The operator's files for connections between masters and nodes. */
export interface LinkFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Authorities that sign for the other side; during a change of authority the old and the new one. */
  readonly caFile: string;
}

/** Follows the files as certificate.ts does those of the listeners: what fits is given to Envoy, what doesn't is reported and changes nothing. */
export async function followLink(
  files: LinkFiles,
  secretsDir: string,
  now: Clock,
  log: Logger,
): Promise<Result<{ close(): void }, string>> {
  const first = await give(files, secretsDir, now);
  if (!first.ok) {
    const had = [LINK_CERTIFICATE, LINK_AUTHORITY].every(({ file }) => existsSync(join(secretsDir, file)));
    if (!had) return err(`link between masters and nodes: ${first.error}`);
    log.error("the link's certificate is not taken, the one of before stays", { reason: first.error });
  }
  let complaint: string | null = null;
  let told: string | null = null;
  const look = async (): Promise<void> => {
    const given = await give(files, secretsDir, now);
    const said = given.ok ? null : given.error;
    // Seen twice: between the replacement of one file and the other they don't fit for a moment.
    if (said !== null && said === complaint && said !== told) {
      told = said;
      log.error("the link's certificate is not taken, the old one stays", { reason: said });
    }
    complaint = said;
    if (!given.ok) return;
    told = null;
    if (given.value.isNew) log.info("envoy has a new certificate for the link between masters and nodes");
  };
  const timer = setInterval(() => {
    look().catch((error: unknown) =>
      log.error("the link's certificate could not be looked at", { error: String(error) }),
    );
  }, LIMITS.certificateLookMs);
  timer.unref();
  return ok({ close: () => clearInterval(timer) });
}

async function give(
  { certificateFile, keyFile, caFile }: LinkFiles,
  secretsDir: string,
  now: Clock,
): Promise<Result<{ readonly isNew: boolean }, string>> {
  let chain: string, key: string, authority: string;
  try {
    [chain, key, authority] = await Promise.all([
      readFile(certificateFile, "utf8"),
      readFile(keyFile, "utf8"),
      readFile(caFile, "utf8"),
    ]);
  } catch (error) {
    return err(
      error instanceof Error && "path" in error ? `${String(error.path)} can't be read` : "a file can't be read",
    );
  }
  const checked = checkPair({ chain, key }, now());
  if (!checked.ok) return checked;
  if (!isCertificate(authority)) return err("the authority's certificate is not valid PEM");
  const version = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);
  const secrets = [
    [LINK_AUTHORITY.file, renderAuthority(authority, version(authority))],
    [LINK_CERTIFICATE.file, renderCertificate({ chain, key }, version(chain), LINK_CERTIFICATE.name)],
  ] as const;
  let isNew = false;
  for (const [file, content] of secrets)
    isNew = (await replaceIfChanged(join(secretsDir, file), JSON.stringify(content), 0o600)) || isNew;
  return ok({ isNew });
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
