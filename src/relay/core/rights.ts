import type { ConnectorGrant, TenantSettings } from "../../protocol/lane.ts";
import { CLOSE } from "../../protocol/tunnel/close-codes.ts";
import type { Credential } from "./types.ts";

/** Whether the connector may be asked for the target now. Looked at for every request (T15). */
export const isEntitled = (grant: ConnectorGrant, target: string, nowMs: number): boolean =>
  !grant.disabled &&
  (grant.expiresAtMs === null || grant.expiresAtMs > nowMs) &&
  (grant.targets === null || grant.targets.includes(target));

const READING: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** What a read-only connector may be sent. Not an upgrade: nobody sees what a WebSocket changes. */
export const changesNothing = (method: string, body: "none" | "stream" | "websocket"): boolean =>
  READING.has(method) && body !== "websocket";

/** Why a connector's socket may not stay; null: it may. */
export function endingOf(
  credential: Credential,
  grant: ConnectorGrant | undefined,
  settings: TenantSettings,
  nowMs: number,
): { readonly code: number; readonly reason: string } | null {
  const revoked = (reason: string) => ({ code: CLOSE.revoked, reason });
  const unauthorized = (reason: string) => ({ code: CLOSE.unauthorized, reason });
  if (settings.disabled) return revoked("the tenant's relay is switched off");
  if (grant === undefined) return revoked("the connector was removed");
  if (grant.disabled) return revoked("the connector was disabled");
  if (isOver(grant.expiresAtMs, nowMs)) return revoked("the connector's time is over");
  if (isOver(credential.expiresAtMs, nowMs)) return unauthorized("the token ran out");
  const proof = proofOf(credential, grant, settings, nowMs);
  return proof === null ? null : unauthorized(proof);
}

/** What is wrong with the proof itself. */
function proofOf(
  { kind, id }: Credential,
  grant: ConnectorGrant,
  settings: TenantSettings,
  nowMs: number,
): string | null {
  if (kind === "key") return grant.keys.some(({ kid }) => kid === id) ? null : "the key was removed";
  if (kind === "issuer") {
    const isTrusted = settings.issuers.some(({ issuer }) => issuer === id);
    return isTrusted && grant.issuerSubject !== null ? null : "the issuer is not trusted any more";
  }
  const secret = grant.secrets.find((each) => each.id === id);
  if (secret === undefined) return "the secret was removed";
  return isOver(secret.expiresAtMs, nowMs) ? "the secret ran out" : null;
}

/** When `endingOf` has to be asked again though nothing was changed; null: never. */
export function nextEndingMs(credential: Credential, grant: ConnectorGrant | undefined): number | null {
  const secret = credential.kind === "secret" ? grant?.secrets.find(({ id }) => id === credential.id) : undefined;
  const times = [credential.expiresAtMs, grant?.expiresAtMs, secret?.expiresAtMs].filter(
    (time) => time !== null && time !== undefined,
  );
  return times.length === 0 ? null : Math.min(...times);
}

const isOver = (timeMs: number | null, nowMs: number): boolean => timeMs !== null && timeMs <= nowMs;
