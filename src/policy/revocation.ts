import { SESSION_LIFETIME_SECONDS } from "../protocol/portal-rpc.ts";
import type { DirectoryRecord } from "./record.ts";

type Access = Pick<DirectoryRecord, "accessRevision" | "notBefore">;

/**
 * People of one tenant whose sessions were ended one by one within a session's lifetime. The list travels with every record of the tenant
 * (about 10 KB then, of an isolate's memory and of each lookup); beyond it everybody's sessions end instead, so that a revocation always works.
 */
export const MAX_NOT_BEFORE = 200;

/** Clocks of portal and console may differ by as much. */
const CLOCK_SKEW_SECONDS = 60;

/** The entries that can still refuse a session: older ones refuse what has expired by itself. */
export function withoutExpired(notBefore: Access["notBefore"], nowSeconds: number): Access["notBefore"] {
  const oldest = nowSeconds - SESSION_LIFETIME_SECONDS - CLOCK_SKEW_SECONDS;
  return Object.fromEntries(Object.entries(notBefore).filter(([, at]) => at >= oldest));
}

/** Ends the sessions of one account, or everybody's (null), as of now. */
export function revokeSessions(access: Access, accountId: string | null, nowSeconds: number): Access {
  const { accessRevision } = access;
  const everybody = { accessRevision: accessRevision + 1, notBefore: {} };
  if (accountId === null) return everybody;
  const current = withoutExpired(access.notBefore, nowSeconds);
  // The later one stands: a clock that was set back must not bring sessions back.
  const at = Object.hasOwn(current, accountId) ? Math.max(current[accountId] ?? 0, nowSeconds) : nowSeconds;
  const notBefore = { ...current, [accountId]: at };
  return Object.keys(notBefore).length > MAX_NOT_BEFORE ? everybody : { accessRevision, notBefore };
}
