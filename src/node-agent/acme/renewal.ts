import { X509Certificate } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { CertificateFiles } from "../certificate.ts";
import type { Clock } from "../../shared/clock.ts";
import type { Logger } from "../../shared/log.ts";
import type { AcmeConfig } from "./config.ts";
import { replaceFile } from "../envoy/files.ts";
import { checkPair, type CertificatePair } from "../envoy/tls.ts";
import { LIMITS } from "../limits.ts";
import { accountKey } from "./account.ts";
import { acmeFiles } from "./files.ts";
import type { Challenges } from "./challenges.ts";
import { dns01 } from "./dns-01.ts";
import { openHttp01 } from "./http-01.ts";

export interface AcmeRenewal {
  close(): void;
}

interface RenewalPorts {
  readonly config: AcmeConfig;
  readonly stateDir: string;
  readonly storeDir: string;
  readonly storeKey: string;
  readonly now: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/**
 * After two thirds of a certificate's life, and up to a thirtieth earlier, so that nodes that began together don't renew together.
 * `share`: from 0 to 1.
 */
export function renewAtMs(life: { readonly beginsAtMs: number; readonly endsAtMs: number }, share: number): number {
  const lengthMs = life.endsAtMs - life.beginsAtMs;
  return life.endsAtMs - lengthMs / 3 - (lengthMs / 30) * share;
}

/** Pause after the nth failure in a row (from 1): doubles up to a bound, up to a fifth shorter by chance. */
export const retryMs = (failures: number, share: number): number =>
  Math.min(LIMITS.acmeRetryMinMs * 2 ** (failures - 1), LIMITS.acmeRetryMaxMs) * (1 - share / 5);

/** Orders a certificate when there is none for these names, and another in time before it ends. */
export function keepRenewed(ports: RenewalPorts): AcmeRenewal {
  const { config, now, random, log } = ports;
  const files = acmeFiles(ports.stateDir);
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  let failures = 0;

  const later = (atMs: number): void => {
    if (over) return;
    // Clocks are set and machines sleep: it is looked at again before long, whatever the time says.
    const waitMs = Math.max(Math.min(atMs - now(), LIMITS.acmeLookMs), 0);
    timer = setTimeout(() => void look(atMs), waitMs);
    timer.unref();
  };

  const look = async (dueAtMs: number): Promise<void> => {
    if (now() < dueAtMs) return later(dueAtMs);
    try {
      const endsAtMs = await renew();
      failures = 0;
      // Whatever the server gave, it is not asked again at once.
      later(Math.max(await dueAt(), now() + (endsAtMs - now()) / 3));
    } catch (error) {
      failures += 1;
      const pauseMs = retryMs(failures, random());
      const reason = error instanceof Error ? error.message.slice(0, LIMITS.reasonChars) : String(error);
      log.error("no certificate could be had, it is tried again", { reason, inSeconds: Math.round(pauseMs / 1000) });
      later(now() + pauseMs);
    }
  };

  /** When the new one ends. */
  const renew = async (): Promise<number> => {
    const { challenge, directoryUrl, caFile, email, names } = config;
    log.info("a certificate is ordered", { names: names.join(", "), directoryUrl });
    // The client is large, and most agents never order.
    const { orderCertificate } = await import("./order.ts");
    const key = await accountKey(ports.storeDir, ports.storeKey, directoryUrl);
    const challenges: Challenges =
      challenge.type === "dns-01" ? dns01(challenge.hook) : await openHttp01(challenge.address, challenge.port);
    try {
      const pair = await orderCertificate({ directoryUrl, caFile, accountKey: key, email, names }, challenges);
      const checked = checkPair(pair, now());
      if (!checked.ok) throw new Error(checked.error);
      await mkdir(dirname(files.keyFile), { recursive: true, mode: 0o700 });
      await replaceFile(files.keyFile, pair.key, 0o600);
      await replaceFile(files.certificateFile, pair.chain, 0o600);
      log.info("a certificate was issued", {
        names: names.join(", "),
        endsAt: new Date(checked.value.endsAtMs).toISOString(),
      });
      return checked.value.endsAtMs;
    } finally {
      await challenges.close();
    }
  };

  /** When what is on disk has to be renewed; now, if it is not for these names or not usable. */
  const dueAt = async (): Promise<number> => {
    const pair = await readPair(files);
    if (pair === null || !checkPair(pair, now()).ok) return now();
    const certificate = new X509Certificate(pair.chain);
    const has = new Set((certificate.subjectAltName ?? "").split(", ").map((name) => name.replace(/^DNS:/, "")));
    if (has.size !== config.names.length || !config.names.every((name) => has.has(name))) return now();
    const life = { beginsAtMs: Date.parse(certificate.validFrom), endsAtMs: Date.parse(certificate.validTo) };
    return renewAtMs(life, random());
  };

  dueAt().then(later, (error: unknown) => log.error("the certificate could not be read", { error: String(error) }));
  return {
    close() {
      over = true;
      clearTimeout(timer);
    },
  };
}

async function readPair({ certificateFile, keyFile }: CertificateFiles): Promise<CertificatePair | null> {
  try {
    return { chain: await readFile(certificateFile, "utf8"), key: await readFile(keyFile, "utf8") };
  } catch {
    return null;
  }
}
