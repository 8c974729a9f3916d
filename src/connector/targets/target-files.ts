import { readFileSync, statSync } from "node:fs";
import { createSecureContext, getCACertificates, type ConnectionOptions } from "node:tls";
import { err, ok, type Result } from "../../shared/result.ts";
import type { WebTargetConfig } from "./target-config.ts";

/** What a target needs of the site's files. */
export interface TargetFiles {
  readonly tls: ConnectionOptions;
  /** Value of Authorization; null: the visitor's own goes through. */
  readonly authorization: string | null;
}

/**
 * Certificates, key and password as they are on disk now. `ca`: PEM that the whole connector trusts beside the machine's. Errors name files
 * and settings, never what is in them.
 */
export function readTargetFiles(
  { tls, basicAuth }: Pick<WebTargetConfig, "tls" | "basicAuth">,
  ca: string | null = null,
): Result<TargetFiles, string> {
  const ownCa = read("tls.ca", tls.ca);
  const cert = read("tls.certificate", tls.certificate);
  const key = read("tls.key", tls.key);
  const password = read("basicAuth", basicAuth ?? undefined);
  for (const file of [ownCa, cert, key, password]) if (!file.ok) return file;
  if (!ownCa.ok || !cert.ok || !key.ok || !password.ok) return err("a file can't be read");
  if (ownCa.value !== null && !ownCa.value.includes("-----BEGIN CERTIFICATE-----"))
    return err("tls.ca holds no PEM certificate");
  if ((cert.value === null) !== (key.value === null)) return err("tls.certificate and tls.key belong together");
  const pair = cert.value === null || key.value === null ? {} : { cert: cert.value, key: key.value };
  try {
    createSecureContext({ ...pair, ...(ownCa.value === null ? {} : { ca: ownCa.value }) });
  } catch {
    return err("tls.certificate and tls.key are no PEM pair that fits together, or tls.ca is damaged");
  }
  const extra = [ownCa.value, ca].filter((pem) => pem !== null);
  const line = password.value?.replace(/\r?\n$/, "") ?? null;
  // RFC 7617, section 2: the user has no colon; control characters are not allowed in either.
  if (line !== null && !/^[^:\p{Cc}]+:\P{Cc}*$/u.test(line))
    return err("the file of basicAuth must hold one line, user:password");
  return ok({
    tls: {
      ...pair,
      ...(extra.length > 0 ? { ca: [...getCACertificates("default"), ...extra] } : {}),
      ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
      minVersion: tls.minVersion === "1.3" ? "TLSv1.3" : "TLSv1.2",
      ...(tls.insecure ? { rejectUnauthorized: false } : {}),
    },
    authorization: line === null ? null : `Basic ${Buffer.from(line).toString("base64")}`,
  });
}

/** Calls back when one of the target's files was replaced or written. Answers how to stop, or null when it has none. */
export function watchTargetFiles(config: WebTargetConfig, everyMs: number, changed: () => void): (() => void) | null {
  const { ca, certificate, key } = config.tls;
  const paths = [ca, certificate, key, config.basicAuth ?? undefined].filter((path) => path !== undefined);
  if (paths.length === 0) return null;
  let before = stamps(paths);
  const timer = setInterval(() => {
    const now = stamps(paths);
    if (now === before) return;
    before = now;
    changed();
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}

const stamps = (paths: readonly string[]): string =>
  paths
    .map((path) => {
      const found = statSync(path, { throwIfNoEntry: false });
      return found === undefined ? "-" : `${found.ino}.${found.mtimeMs}.${found.size}`;
    })
    .join();

function read(setting: string, path: string | undefined): Result<string | null, string> {
  if (path === undefined) return ok(null);
  try {
    return ok(readFileSync(path, "utf8"));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    return err(`the file of ${setting} can't be read (${code})`);
  }
}
