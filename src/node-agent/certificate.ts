import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { replaceIfChanged } from "./envoy/files.ts";
import { CERTIFICATE_FILE, checkPair, NO_CERTIFICATE, renderCertificate, type CertificatePair } from "./envoy/tls.ts";
import { LIMITS } from "./limits.ts";

/** The operator's files, as certbot and the like replace them. */
export interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Follows the files: a pair that fits is given to Envoy, one that doesn't is reported and changes nothing. */
export interface Certificate {
  close(): void;
}

/**
 * Fails only when Envoy has none yet: an agent that starts again with files that don't fit leaves Envoy the last one that did. `isOrdered`:
 * there may be none yet, since the first is being ordered; until it is there Envoy makes no connection.
 */
export async function followCertificate(
  files: CertificateFiles,
  secretsDir: string,
  isOrdered: boolean,
  now: Clock,
  log: Logger,
): Promise<Result<Certificate, string>> {
  const file = join(secretsDir, CERTIFICATE_FILE);
  if (isOrdered && !existsSync(files.certificateFile) && !existsSync(file)) {
    await replaceIfChanged(file, JSON.stringify(NO_CERTIFICATE), 0o600);
  }
  const first = await give(files, secretsDir, now);
  if (!first.ok) {
    if (!existsSync(file)) return err(`tls: ${first.error}`);
    if (!isOrdered) log.error("the certificate is not taken, the one of before stays", { reason: first.error });
  }
  let complaint: string | null = null;
  let told: string | null = null;
  let toldDay = 0;

  const look = async (): Promise<void> => {
    const given = await give(files, secretsDir, now);
    const said = given.ok ? null : given.error;
    // Once: between the replacement of one file and the other they don't fit for a moment, and a mistake stays for days.
    const isAwaited = isOrdered && !existsSync(files.certificateFile);
    if (said !== null && said === complaint && said !== told && !isAwaited) {
      told = said;
      log.error("the certificate is not taken, the old one stays", { reason: said });
    }
    complaint = said;
    if (said === null) told = null;
    if (!given.ok) return;
    if (given.value.isNew)
      log.info("envoy has a new certificate", { endsAt: new Date(given.value.endsAtMs).toISOString() });
    const daysLeft = Math.floor((given.value.endsAtMs - now()) / 86_400_000);
    const today = Math.floor(now() / 86_400_000);
    if (daysLeft < LIMITS.certificateWarnDays && today !== toldDay) {
      toldDay = today;
      log.warn("the certificate ends soon", { daysLeft });
    }
  };
  const timer = setInterval(() => {
    look().catch((error: unknown) => log.error("the certificate could not be looked at", { error: String(error) }));
  }, LIMITS.certificateLookMs);
  timer.unref();
  return ok({ close: () => clearInterval(timer) });
}

async function give(
  { certificateFile, keyFile }: CertificateFiles,
  secretsDir: string,
  now: Clock,
): Promise<Result<{ readonly endsAtMs: number; readonly isNew: boolean }, string>> {
  let pair: CertificatePair;
  try {
    pair = { chain: await readFile(certificateFile, "utf8"), key: await readFile(keyFile, "utf8") };
  } catch (error) {
    return err(
      error instanceof Error && "path" in error ? `${String(error.path)} can't be read` : "a file can't be read",
    );
  }
  const checked = checkPair(pair, now());
  if (!checked.ok) return checked;
  const version = createHash("sha256").update(pair.chain).digest("hex").slice(0, 16);
  const content = JSON.stringify(renderCertificate(pair, version));
  const isNew = await replaceIfChanged(join(secretsDir, CERTIFICATE_FILE), content, 0o600);
  return ok({ endsAtMs: checked.value.endsAtMs, isNew });
}
