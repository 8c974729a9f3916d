import { and, asc, eq, lt, or, isNull, sql } from "drizzle-orm";
import { z } from "zod";
import type { Db } from "../db/client.ts";
import { raiseRelaySettings, publishedSettingsOf, type RelayIssuerRow } from "../db/relay-settings.ts";
import { relayIssuers } from "../db/schema.ts";
import { isFetchableUrl } from "../policy/issuer-url.ts";
import { issuerJwk, type IssuerJwk } from "../protocol/jwk.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { publishSettings } from "./lanes.ts";
import {
  ISSUER_ANSWER_BYTES,
  ISSUER_KEYS_MAX,
  ISSUER_REFRESH_MS,
  ISSUER_REFRESHES,
  ISSUER_RETRY_MS,
  ISSUER_TIMEOUT_MS,
} from "./limits.ts";
import type { ProvisionerPorts } from "./ports.ts";

type Commit = <T>(work: (tx: Db) => Promise<T>) => Promise<T>;

/**
 * Fetches the keys of these issuers and keeps them; the tenant's revision rises when they differ from before. An issuer that does not answer
 * keeps the keys that it had. Answers what went wrong, a sentence an issuer.
 */
export async function refreshIssuers(
  ports: Pick<ProvisionerPorts, "clock" | "fetch">,
  issuers: readonly RelayIssuerRow[],
  commit: Commit,
): Promise<string[]> {
  const problems: string[] = [];
  for (const row of issuers) {
    const fetched = await fetchIssuerKeys(row.issuer, ports.fetch);
    if (!fetched.ok) problems.push(`${row.issuer}: ${fetched.error}`);
    await commit(async (tx) => {
      const now = new Date(ports.clock());
      const changed = fetched.ok && JSON.stringify(fetched.value) !== JSON.stringify(row.keys);
      if (changed) await raiseRelaySettings(tx, row.tenantId, now);
      await tx
        .update(relayIssuers)
        .set({
          triedAt: now,
          problem: fetched.ok ? null : fetched.error,
          ...(fetched.ok && { keys: fetched.value, fetchedAt: now }),
        })
        .where(and(eq(relayIssuers.tenantId, row.tenantId), eq(relayIssuers.issuer, row.issuer)));
    });
  }
  return problems;
}

/** By cron: issuers rotate their keys. Those that were looked at longest ago come first; a few a minute. */
export async function refreshDueIssuers(ports: ProvisionerPorts): Promise<void> {
  const nowMs = ports.clock();
  const before = (ms: number) => new Date(nowMs - ms);
  const due = await ports.db
    .select()
    .from(relayIssuers)
    .where(
      or(
        isNull(relayIssuers.triedAt),
        lt(relayIssuers.triedAt, before(ISSUER_REFRESH_MS)),
        and(sql`${relayIssuers.problem} is not null`, lt(relayIssuers.triedAt, before(ISSUER_RETRY_MS))),
      ),
    )
    .orderBy(sql`${relayIssuers.triedAt} asc nulls first`, asc(relayIssuers.issuer))
    .limit(ISSUER_REFRESHES);
  if (due.length === 0) return;
  const problems = await refreshIssuers(ports, due, (work) => ports.db.transaction(work));
  if (problems.length > 0)
    ports.log.warn("keys of outside issuers could not be fetched", { problems: problems.join("; ") });
  for (const tenantId of new Set(due.map((row) => row.tenantId))) {
    const settings = await ports.db.transaction((tx) => publishedSettingsOf(tx, tenantId));
    if (settings !== null) await publishSettings(ports, settings);
  }
}

const configuration = z.object({ issuer: z.string(), jwks_uri: z.url() });
const jwks = z.object({ keys: z.array(z.looseObject({})).max(100) });

/**
 * The keys with which an issuer signs (OpenID Connect Discovery 1.0): Ed25519, P-256 and RSA ones for signatures; others are left out. The
 * URLs are the tenant's and the issuer's, so they may lead nowhere but to https, or to this machine.
 */
async function fetchIssuerKeys(issuer: string, fetcher: Fetcher): Promise<Result<IssuerJwk[], string>> {
  const document = await fetchJson(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, fetcher);
  if (!document.ok) return err(`its discovery document: ${document.error}`);
  const parsed = configuration.safeParse(document.value);
  if (!parsed.success) return err("its discovery document names no keys");
  if (parsed.data.issuer !== issuer) return err("its discovery document is of another issuer");
  const keys = await fetchJson(parsed.data.jwks_uri, fetcher);
  if (!keys.ok) return err(`its keys: ${keys.error}`);
  const set = jwks.safeParse(keys.value);
  if (!set.success) return err("its keys are no JWK set");
  const usable = set.data.keys.flatMap((key) => signingKey(key) ?? []);
  if (usable.length === 0) return err("it has no key of a kind that is understood (Ed25519, ES256, RS256)");
  return ok(usable.slice(0, ISSUER_KEYS_MAX));
}

type Fetcher = (url: string, init: RequestInit) => Promise<Response>;

function signingKey(key: Record<string, unknown>): IssuerJwk | null {
  if (key["use"] !== undefined && key["use"] !== "sig") return null;
  const { kty, crv, x, y, n, e, kid } = key;
  const bare = kty === "RSA" ? { kty, n, e, kid } : kty === "EC" ? { kty, crv, x, y, kid } : { kty, crv, x, kid };
  const parsed = issuerJwk.safeParse(bare);
  return parsed.success ? parsed.data : null;
}

async function fetchJson(url: string, fetcher: Fetcher): Promise<Result<unknown, string>> {
  if (!isFetchableUrl(url)) return err("the address must be https");
  try {
    const response = await fetcher(url, {
      headers: { accept: "application/json" },
      // Not followed: where it leads was not looked at.
      redirect: "manual",
      signal: AbortSignal.timeout(ISSUER_TIMEOUT_MS),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      return err(`status ${response.status}`);
    }
    const text = await boundedText(response);
    return text === null ? err("it is too long") : ok(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) return err("it is not JSON");
    return err(error instanceof Error && error.name === "TimeoutError" ? "no answer in time" : "it can't be reached");
  }
}

async function boundedText(response: Response): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > ISSUER_ANSWER_BYTES) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
