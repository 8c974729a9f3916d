import { and, asc, eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { invitation, member, organization, signInCode, user } from "../db/portal-schema.ts";
import type { InvitationView, MemberChange, MemberView, RoleName } from "../protocol/portal-rpc.ts";
import { LIMITS } from "./limits.ts";

/** Members and open invitations of a tenant, by address. */
export async function listMembers(
  db: Db,
  tenantId: string,
): Promise<{ members: MemberView[]; invitations: InvitationView[] }> {
  const members = await db
    .select({ accountId: user.id, email: user.email, role: member.role, createdAt: member.createdAt })
    .from(member)
    .innerJoin(user, eq(user.id, member.userId))
    .where(eq(member.organizationId, tenantId))
    .orderBy(asc(user.email))
    .limit(LIMITS.listedMembers);
  const invitations = await db
    .select()
    .from(invitation)
    .where(and(eq(invitation.organizationId, tenantId), eq(invitation.status, "pending")))
    .orderBy(asc(invitation.email))
    .limit(LIMITS.listedMembers);
  return {
    members: members.map(({ createdAt, ...rest }) => ({ ...rest, sinceMs: createdAt.getTime() })),
    invitations: invitations.map(({ id, email, role, expiresAt }) => ({
      invitationId: id,
      email,
      role: role ?? "viewer",
      expiresAtMs: expiresAt.getTime(),
    })),
  };
}

export const setRole = (db: Db, tenantId: string, accountId: string, role: RoleName): Promise<MemberChange> =>
  change(db, tenantId, accountId, role === "owner", async (tx) => {
    await tx.update(member).set({ role }).where(isMember(tenantId, accountId));
  });

export const removeMember = (db: Db, tenantId: string, accountId: string): Promise<MemberChange> =>
  change(db, tenantId, accountId, false, async (tx) => {
    await tx.delete(member).where(isMember(tenantId, accountId));
    await tx.delete(signInCode).where(and(eq(signInCode.tenantId, tenantId), eq(signInCode.userId, accountId)));
  });

/** Does `work` unless it takes the last owner away. The organisation's row is locked: two owners can't remove each other at once. */
async function change(
  db: Db,
  tenantId: string,
  accountId: string,
  staysOwner: boolean,
  work: (tx: Db) => Promise<void>,
): Promise<MemberChange> {
  return await db.transaction(async (tx): Promise<MemberChange> => {
    await tx.select().from(organization).where(eq(organization.id, tenantId)).for("update");
    const [found] = await tx.select().from(member).where(isMember(tenantId, accountId));
    if (found === undefined) return "not-found";
    if (found.role === "owner" && !staysOwner) {
      const owners = await tx
        .select({ id: member.id })
        .from(member)
        .where(and(eq(member.organizationId, tenantId), eq(member.role, "owner")))
        .limit(2);
      if (owners.length < 2) return "last-owner";
    }
    await work(tx);
    return "done";
  });
}

const isMember = (tenantId: string, accountId: string) =>
  and(eq(member.organizationId, tenantId), eq(member.userId, accountId));
