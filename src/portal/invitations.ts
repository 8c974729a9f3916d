import { and, count, eq, gt } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { invitation, member, organization, user } from "../db/portal-schema.ts";
import { roleName, type InviteInput, type InviteResult, type RoleName } from "../protocol/portal-rpc.ts";
import type { Clock } from "../shared/clock.ts";
import { newId } from "../shared/ids.ts";
import type { Logger } from "../shared/log.ts";
import type { PortalSession } from "./accounts.ts";
import { hexSha256 } from "./encoding.ts";
import { LIMITS } from "./limits.ts";
import { newLinkToken } from "./links.ts";
import type { SendMail } from "./mail/mail.ts";
import { invitationMail } from "./mail/messages.ts";
import { accountIdOf, ensureOrganization, makeAccount } from "./members.ts";
import { passwordProblem } from "./passwords.ts";
import { portalOrigin, type PortalSettings } from "./settings.ts";

export interface InvitationPorts {
  readonly db: Db;
  /** Null when the platform sends no mail. */
  readonly sendMail: SendMail | null;
  readonly log: Logger;
  readonly now: Clock;
  readonly random: (bytes: Uint8Array) => void;
}

/** An open invitation, to whoever brought its token. */
export interface OpenInvitation {
  readonly tenantName: string;
  readonly email: string;
  /** Whether the address has an account: who reads its mail may know. */
  readonly hasAccount: boolean;
}

export type AcceptOutcome =
  | { readonly kind: "joined"; readonly tenantName: string }
  /** Unknown, used, revoked or too old. */
  | { readonly kind: "gone" }
  /** Signed in with an account of another address, or not signed in though the address has an account. */
  | { readonly kind: "other-account" }
  | { readonly kind: "no-sign-up" }
  | { readonly kind: "refused"; readonly problem: string };

/** Sends an invitation; an open one for the same address gets a new token, role and time. The token leaves by mail only. */
export async function invite(
  ports: InvitationPorts,
  settings: PortalSettings,
  input: InviteInput,
): Promise<InviteResult> {
  const { db, sendMail, now, random } = ports;
  if (sendMail === null) return { kind: "no-mail" };
  const email = input.email.toLowerCase();
  const token = newLinkToken(random);
  const tokenHash = await hexSha256(token);
  const expiresAt = new Date(now() + LIMITS.invitationLifetimeSeconds * 1_000);
  const made = await db.transaction(async (tx): Promise<InviteResult> => {
    await ensureOrganization(tx, input);
    // Invitations of one tenant come one after the other, so that the count holds.
    await tx.select().from(organization).where(eq(organization.id, input.tenantId)).for("update");
    const members = await tx
      .select({ id: member.id })
      .from(member)
      .innerJoin(user, eq(user.id, member.userId))
      .where(and(eq(member.organizationId, input.tenantId), eq(user.email, email)));
    if (members.length > 0) return { kind: "already-member" };
    const open = and(eq(invitation.organizationId, input.tenantId), eq(invitation.status, "pending"));
    const values = { role: input.role, tokenHash, expiresAt };
    const [renewed] = await tx
      .update(invitation)
      .set(values)
      .where(and(open, eq(invitation.email, email)))
      .returning();
    if (renewed !== undefined) return { kind: "invited", invitationId: renewed.id, expiresAtMs: expiresAt.getTime() };
    const [total] = await tx.select({ open: count() }).from(invitation).where(open);
    if ((total?.open ?? 0) >= LIMITS.openInvitations) return { kind: "too-many" };
    const invitationId = newId("key");
    await tx.insert(invitation).values({ id: invitationId, organizationId: input.tenantId, email, ...values });
    return { kind: "invited", invitationId, expiresAtMs: expiresAt.getTime() };
  });
  if (made.kind === "invited") {
    const name = input.cluster === "default" ? input.slug : `${input.slug}@${input.cluster}`;
    await sendMail(invitationMail(email, name, `${portalOrigin(settings)}/invitation?token=${token}`));
  }
  return made;
}

/** Sends an open invitation again, with a new token and time; the old link stops working. */
export async function resendInvitation(
  ports: InvitationPorts,
  settings: PortalSettings,
  tenantId: string,
  invitationId: string,
): Promise<InviteResult | { readonly kind: "not-found" }> {
  const { db, sendMail, now, random } = ports;
  if (sendMail === null) return { kind: "no-mail" };
  const token = newLinkToken(random);
  const expiresAt = new Date(now() + LIMITS.invitationLifetimeSeconds * 1_000);
  const [row] = await db
    .update(invitation)
    .set({ tokenHash: await hexSha256(token), expiresAt })
    .where(isOpen(tenantId, invitationId))
    .returning();
  const [tenant] = await db.select({ name: organization.name }).from(organization).where(eq(organization.id, tenantId));
  if (row === undefined || tenant === undefined) return { kind: "not-found" };
  await sendMail(invitationMail(row.email, tenant.name, `${portalOrigin(settings)}/invitation?token=${token}`));
  return { kind: "invited", invitationId, expiresAtMs: expiresAt.getTime() };
}

/** Answers whether there was an open one. */
export async function revokeInvitation(db: Db, tenantId: string, invitationId: string): Promise<boolean> {
  const rows = await db
    .update(invitation)
    .set({ status: "revoked", tokenHash: null })
    .where(isOpen(tenantId, invitationId))
    .returning();
  return rows.length > 0;
}

const isOpen = (tenantId: string, invitationId: string) =>
  and(eq(invitation.id, invitationId), eq(invitation.organizationId, tenantId), eq(invitation.status, "pending"));

/** Looks without using it up. */
export async function peekInvitation(db: Db, token: string, now: Clock): Promise<OpenInvitation | null> {
  const [row] = await db
    .select({ tenantName: organization.name, email: invitation.email })
    .from(invitation)
    .innerJoin(organization, eq(organization.id, invitation.organizationId))
    .where(await fits(token, now));
  if (row === undefined) return null;
  return { ...row, hasAccount: (await accountIdOf(db, row.email)) !== null };
}

const fits = async (token: string, now: Clock) =>
  and(
    eq(invitation.tokenHash, await hexSha256(token)),
    eq(invitation.status, "pending"),
    gt(invitation.expiresAt, new Date(now())),
  );

/**
 * Joins with the session's account, which must have the invitation's address, or with a new account of that address and `password`. The token
 * came by mail, so the address is verified by it. All or nothing: a join that fails leaves the invitation open and no account.
 */
export async function acceptInvitation(
  ports: InvitationPorts,
  settings: PortalSettings,
  token: string,
  session: PortalSession | null,
  password: string | null,
): Promise<AcceptOutcome> {
  const { db, now, log } = ports;
  const open = await peekInvitation(db, token, now);
  if (open === null) return { kind: "gone" };
  if (session !== null && session.email.toLowerCase() !== open.email) return { kind: "other-account" };
  if (session === null && open.hasAccount) return { kind: "other-account" };
  if (session === null && settings.signUp === "closed") return { kind: "no-sign-up" };
  const problem = session === null ? passwordProblem(password ?? "", open.email) : null;
  if (problem !== null) return { kind: "refused", problem };
  try {
    return await db.transaction(async (tx): Promise<AcceptOutcome> => {
      const [taken] = await tx
        .update(invitation)
        .set({ status: "accepted", tokenHash: null })
        .where(await fits(token, now))
        .returning();
      if (taken === undefined) return { kind: "gone" };
      const account = { email: taken.email, password: password ?? "", isVerified: true };
      const accountId = session?.accountId ?? (await makeAccount(tx, settings, log, account));
      await tx.update(user).set({ emailVerified: true }).where(eq(user.id, accountId));
      await tx
        .insert(member)
        .values({
          id: newId("key"),
          organizationId: taken.organizationId,
          userId: accountId,
          role: knownRole(taken.role),
        })
        // Made a member by an operator in the meantime: that role stands.
        .onConflictDoNothing();
      return { kind: "joined", tenantName: open.tenantName };
    });
  } catch (error) {
    // The address got an account in the meantime: better-auth then invents one, which can't be a member.
    if (session === null && (await accountIdOf(db, open.email)) !== null) return { kind: "other-account" };
    throw error;
  }
}

/** Rows are ours, but a role that nobody knows must not become more than the least. */
function knownRole(role: string | null): RoleName {
  const parsed = roleName.safeParse(role);
  return parsed.success ? parsed.data : "viewer";
}
