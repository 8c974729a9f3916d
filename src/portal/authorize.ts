import { z } from "zod";
import { isOpenToAccounts } from "../policy/access.ts";
import { canonicalHost, parseHost } from "../policy/host.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import type { ErrorCode } from "../shared/problem.ts";
import type { PortalSession } from "./accounts.ts";
import type { CodeFor } from "./codes.ts";
import type { AskingTenant } from "./consents.ts";
import { tenantName } from "./members.ts";
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

/** This request again, as a path of the portal. */
export const authorizePath = (request: AuthorizeRequest): string =>
  `/authorize?${new URLSearchParams(request).toString()}`;

export interface AdmissionPorts {
  /** The authority's record of a host; rejects when it can't be reached. */
  readonly lookup: (host: string) => Promise<DirectoryRecord | null>;
  readonly isMember: (accountId: string, tenantId: string) => Promise<boolean>;
  /** Whether a member's session may go on to the tenant without proving itself at the tenant's own provider. */
  readonly mayEnter: (sessionId: string, tenantId: string) => Promise<boolean>;
  /** Whether the account has agreed that the tenant knows who it is. */
  readonly hasConsent: (accountId: string, tenantId: string) => Promise<boolean>;
}

export type Admission =
  | { readonly kind: "admitted"; readonly tenantId: string }
  /** The tenant takes accounts that are no members, and this one has not been asked yet. `startPath`: where the host's pages begin. */
  | { readonly kind: "consent"; readonly tenant: AskingTenant; readonly startPath: string }
  | { readonly kind: "not-member" }
  | { readonly kind: "prove"; readonly tenantId: string }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly detail: string };

export interface AuthorizePorts extends AdmissionPorts {
  readonly issueCode: (of: CodeFor) => Promise<string>;
}

export type AuthorizeOutcome =
  | Exclude<Admission, { kind: "admitted" }>
  | { readonly kind: "redirect"; readonly location: string };

/**
 * Whether this account may have a session on that host. The host must belong to a tenant by the directory, so a made-up link can't send a code
 * anywhere else; the account must be a member of exactly that tenant (H16), unless one of its routes is open to every account. Then it must
 * have agreed that the tenant learns who it is.
 */
export async function admit(
  request: AuthorizeRequest,
  session: PortalSession,
  ports: AdmissionPorts,
  settings: PortalSettings,
): Promise<Admission> {
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
  const { tenantId } = record;
  if (await ports.isMember(session.accountId, tenantId)) {
    return (await ports.mayEnter(session.sessionId, tenantId))
      ? { kind: "admitted", tenantId }
      : { kind: "prove", tenantId };
  }
  if (!isOpenToAccounts(record)) return { kind: "not-member" };
  if (await ports.hasConsent(session.accountId, tenantId)) return { kind: "admitted", tenantId };
  const tenant = { tenantId, name: tenantName(record), host: request.host };
  return { kind: "consent", tenant, startPath: parsed.kind === "target" ? "/" : startPathOf(record) };
}

/** As `admit`, and the way back with a code for whoever is admitted. */
export async function authorize(
  request: AuthorizeRequest,
  session: PortalSession,
  ports: AuthorizePorts,
  settings: PortalSettings,
): Promise<AuthorizeOutcome> {
  const admission = await admit(request, session, ports, settings);
  if (admission.kind !== "admitted") return admission;
  const code = await ports.issueCode({
    sessionId: session.sessionId,
    accountId: session.accountId,
    tenantId: admission.tenantId,
    host: request.host,
    codeChallenge: request.code_challenge,
  });
  const query = new URLSearchParams({ code, state: request.state });
  return {
    kind: "redirect",
    location: `${publicOrigin(settings, request.host)}/.causeway/callback?${query.toString()}`,
  };
}

/** "/" if a route covers it, else the shortest prefix that one has. */
function startPathOf({ routes }: Pick<DirectoryRecord, "routes">): string {
  const prefixes = routes.map(({ prefix }) => prefix).sort((a, b) => a.length - b.length);
  return prefixes[0] ?? "/";
}
