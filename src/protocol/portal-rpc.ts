import { z } from "zod";

/**
 * Calls of the portal's named entrypoints. Only Workers with a service binding reach them: `Members` the console and the provisioner, `Sessions` the
 * edge.
 * Callers validate with these schemas first; invalid input is a bug and rejects.
 */
export const ensureMemberInput = z.strictObject({
  tenantId: z.string().min(1).max(64),
  slug: z.string().min(1).max(40),
  cluster: z.string().min(1).max(40),
  email: z.email().max(254),
  /** For a new account only: an existing one keeps its password, whoever asks. */
  password: z.string().min(8).max(128),
  role: z.enum(["owner", "admin", "member"]),
});
export type EnsureMemberInput = z.infer<typeof ensureMemberInput>;

export interface MembersRpc {
  /** Makes organisation, account and membership as far as they are missing; safe to repeat. `created`: the account is new. */
  ensureMember(input: EnsureMemberInput): Promise<{ accountId: string; created: boolean }>;
  /** Forgets a tenant: its organisation, memberships, invitations and codes under way; accounts stay. Safe to repeat. */
  removeTenant(tenantId: string): Promise<void>;
}

/** Of a session on a tenant host, from its sign-in: a working day. Whoever lists revocations keeps them this long. */
export const SESSION_LIFETIME_SECONDS = 12 * 3_600;

/** Claims of the token in a tenant host's session cookie: a JWT, EdDSA, signed by the portal. */
export const sessionClaims = z.object({
  iss: z.literal("causeway-portal"),
  /** The tenant's id. */
  aud: z.string(),
  /** The account's id. */
  sub: z.string(),
  /** The portal session that it came from. */
  sid: z.string(),
  /** The directory record's access revision when it was issued; refused once the record's is higher. */
  accessRevision: z.number().int().nonnegative(),
  /** Seconds since the epoch. */
  iat: z.number(),
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
});
export type RedeemInput = z.infer<typeof redeemInput>;

export interface SessionsRpc {
  /**
   * Turns a one-time code into a session token. Null when the code is unknown, used, too old, of another host or tenant, the verifier
   * does not fit, or the account is no member (any more): the caller need not know which.
   */
  redeem(input: RedeemInput): Promise<{ token: string; expiresAtSeconds: number } | null>;
  /** Whether the portal session behind a tenant-host session still lasts (claim `sid`): neither ended nor expired. */
  isLive(sessionId: string): Promise<boolean>;
  /** Ends the portal session behind a tenant-host session, so that signing out is not undone by the next redirect. Unknown ids are fine. */
  end(sessionId: string): Promise<void>;
}
