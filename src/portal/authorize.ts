import { z } from "zod";
import { isOpenToAccounts } from "../policy/access.ts";
import { canonicalHost, parseHost } from "../policy/host.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import type { ErrorCode } from "../shared/problem.ts";
import type { PortalSession } from "./accounts.ts";
import type { CodeFor } from "./codes.ts";
import { publicOrigin, type PortalSettings } from "./settings.ts";

/** What a tenant host sends a browser with (RFC 6749, section 4.1.1, and RFC 7636, in our own words: the client is the host). */
export const authorizeRequest = z.object({
  host: z
    .string()
    .max(253)
    .refine((host) => canonicalHost(host) === host),
  state: z.string().regex(/^[A-Za-z0-9_-]{16,128}$/),
  code_challenge: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  code_challenge_method: z.literal("S256"),
});
export type AuthorizeRequest = z.infer<typeof authorizeRequest>;

export interface AuthorizePorts {
  /** The authority's record of a host; rejects when it can't be reached. */
  readonly lookup: (host: string) => Promise<DirectoryRecord | null>;
  readonly isMember: (accountId: string, tenantId: string) => Promise<boolean>;
  /** Whether a member's session may go on to the tenant without proving itself at the tenant's own provider. */
  readonly mayEnter: (sessionId: string, tenantId: string) => Promise<boolean>;
  readonly issueCode: (of: CodeFor) => Promise<string>;
}

export type AuthorizeOutcome =
  | { readonly kind: "redirect"; readonly location: string }
  | { readonly kind: "not-member" }
  | { readonly kind: "prove"; readonly tenantId: string }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly detail: string };

/**
 * Whether this account may have a session on that host, and the way back with a code. The host must belong to a tenant by the directory, so
 * a made-up link can't send a code anywhere else; the account must be a member of exactly that tenant (H16), unless one of its routes is open
 * to every account.
 */
export async function authorize(
  request: AuthorizeRequest,
  session: PortalSession,
  ports: AuthorizePorts,
  settings: PortalSettings,
): Promise<AuthorizeOutcome> {
  const parsed = parseHost(request.host, settings.baseDomains);
  const recordHost =
    parsed.kind === "target"
      ? parsed.tenantHost
      : parsed.kind === "tenant" || parsed.kind === "custom"
        ? parsed.host
        : null;
  const record = recordHost === null ? null : await ports.lookup(recordHost);
  if (record === null) return { kind: "refused", code: "unknown-host", detail: "No tenant has the host that asked." };
  if (record.state !== "active") {
    return { kind: "refused", code: "not-available", detail: "This tenant is not available right now." };
  }
  const isMember = await ports.isMember(session.accountId, record.tenantId);
  if (!isMember && !isOpenToAccounts(record)) return { kind: "not-member" };
  if (isMember && !(await ports.mayEnter(session.sessionId, record.tenantId))) {
    return { kind: "prove", tenantId: record.tenantId };
  }

  const code = await ports.issueCode({
    sessionId: session.sessionId,
    accountId: session.accountId,
    tenantId: record.tenantId,
    host: request.host,
    codeChallenge: request.code_challenge,
  });
  const query = new URLSearchParams({ code, state: request.state });
  return {
    kind: "redirect",
    location: `${publicOrigin(settings, request.host)}/.causeway/callback?${query.toString()}`,
  };
}
