import { z } from "zod";

/**
 * Calls of the portal's named entrypoints. Only Workers with a service binding reach them: `Members` the console and the provisioner, `Sessions` the
 * edge.
 * Callers validate with these schemas first; invalid input is a bug and rejects.
 */
/** What a member may do, most first. The portal keeps it; what it means is the console's and the services' matter. */
export const roleName = z.enum(["owner", "admin", "member", "viewer"]);
export type RoleName = z.infer<typeof roleName>;

export const ensureMemberInput = z.strictObject({
  tenantId: z.string().min(1).max(64),
  slug: z.string().min(1).max(40),
  cluster: z.string().min(1).max(40),
  email: z.email().max(254),
  /** For a new account only: an existing one keeps its password, whoever asks. */
  password: z.string().min(8).max(128),
  role: roleName,
});
export type EnsureMemberInput = z.infer<typeof ensureMemberInput>;

export const inviteInput = z.strictObject({
  tenantId: z.string().min(1).max(64),
  slug: z.string().min(1).max(40),
  cluster: z.string().min(1).max(40),
  email: z.email().max(254),
  role: roleName,
});
export type InviteInput = z.infer<typeof inviteInput>;

export type InviteResult =
  | { readonly kind: "invited"; readonly invitationId: string; readonly expiresAtMs: number }
  | { readonly kind: "already-member" }
  /** The tenant has as many open ones as it may. */
  | { readonly kind: "too-many" }
  /** The portal is set up without mail. */
  | { readonly kind: "no-mail" };

export interface MemberView {
  readonly accountId: string;
  readonly email: string;
  readonly role: string;
  readonly sinceMs: number;
}

export interface InvitationView {
  readonly invitationId: string;
  readonly email: string;
  readonly role: string;
  /** May be in the past: an invitation that nobody took, to be sent again or revoked. */
  readonly expiresAtMs: number;
}

/** `last-owner`: it would leave the tenant without an owner, so nothing was changed. */
export type MemberChange = "done" | "not-found" | "last-owner";

export interface MembersRpc {
  /** Makes organisation, account and membership as far as they are missing; safe to repeat. `created`: the account is new. */
  ensureMember(input: EnsureMemberInput): Promise<{ accountId: string; created: boolean }>;
  /** Forgets a tenant: its organisation, memberships, invitations, consents and codes under way; accounts stay. Safe to repeat. */
  removeTenant(tenantId: string): Promise<void>;
  /** Mails an invitation: good once, for 7 days, for this address. Inviting again replaces the open one. The token is in the mail only. */
  invite(input: InviteInput): Promise<InviteResult>;
  /** Mails an open invitation anew; its old link stops working. */
  resend(tenantId: string, invitationId: string): Promise<InviteResult | { readonly kind: "not-found" }>;
  /** Answers whether there was an open one. */
  revokeInvitation(tenantId: string, invitationId: string): Promise<boolean>;
  /** Members and open invitations, by address; at most 1,000 of each. */
  listMembers(tenantId: string): Promise<{ members: MemberView[]; invitations: InvitationView[] }>;
  setRole(tenantId: string, accountId: string, role: RoleName): Promise<MemberChange>;
  /**
   * Ends a membership, and codes under way with it. Sessions on the tenant's hosts are signed tokens: the caller ends them by the directory
   * record's `notBefore` for this account.
   */
  removeMember(tenantId: string, accountId: string): Promise<MemberChange>;
}

/** Of a session on a tenant host, from its sign-in, however much it is used: a working day. Whoever lists revocations keeps them this long. */
export const SESSION_LIFETIME_SECONDS = 12 * 3_600;
/** Of its token: a session that nobody uses ends after it. */
export const SESSION_IDLE_SECONDS = 2 * 3_600;
/** A token that has less left is renewed when it is used: about twice an hour at most. */
export const SESSION_RENEW_BELOW_SECONDS = 1.5 * 3_600;

/** Claims of the token in a tenant host's session cookie: a JWT, EdDSA, signed by the portal. */
export const sessionClaims = z.object({
  iss: z.literal("causeway-portal"),
  /** The tenant's id. */
  aud: z.string(),
  /** The account's id. */
  sub: z.string(),
  /** The portal session that it came from. */
  sid: z.string(),
  /** The account's role in the tenant then; null: it is no member (routes that are open to everybody with an account). */
  role: roleName.nullable().optional(),
  /** The account's address then, for services. */
  email: z.string().max(254).optional(),
  /** The directory record's access revision when it was issued; refused once the record's is higher. */
  accessRevision: z.number().int().nonnegative(),
  /** When the session began on this host, in seconds since the epoch; a renewed token keeps it, so that no renewal escapes a revocation. */
  iat: z.number(),
  /** The idle time from the token's issue, or the session's absolute end if that is sooner. */
  exp: z.number(),
});
export type SessionClaims = z.infer<typeof sessionClaims>;

export const redeemInput = z.strictObject({
  code: z.string().min(1).max(128),
  /** PKCE verifier (RFC 7636): 43-128 characters. */
  verifier: z.string().min(43).max(128),
  /** The tenant host that the browser came back to, lower case, no port. */
  host: z.string().min(1).max(253),
  /** The tenant of that host and its access revision, by the caller's directory record. */
  tenantId: z.string().min(1).max(64),
  accessRevision: z.number().int().nonnegative(),
  /** Whether the tenant lets in accounts that are no members. Default: it does not. */
  openToAccounts: z.boolean().optional(),
});
export type RedeemInput = z.infer<typeof redeemInput>;

export interface SessionsRpc {
  /**
   * Turns a one-time code into a session token. Null when the code is unknown, used, too old, of another host or tenant, the verifier
   * does not fit, or the account is no member (any more) and the tenant wants one: the caller need not know which.
   */
  redeem(input: RedeemInput): Promise<{ token: string; expiresAtSeconds: number } | null>;
  /**
   * A new token for one that still holds, with the same beginning and access revision, and the account's role and address of now. Null: the
   * session has ended, or the account is no member any more.
   */
  renew(token: string, tenantId: string): Promise<{ token: string; expiresAtSeconds: number } | null>;
  /** Whether the portal session behind a tenant-host session still lasts (claim `sid`): neither ended nor expired. */
  isLive(sessionId: string): Promise<boolean>;
  /** Ends the portal session behind a tenant-host session, so that signing out is not undone by the next redirect. Unknown ids are fine. */
  end(sessionId: string): Promise<void>;
}
