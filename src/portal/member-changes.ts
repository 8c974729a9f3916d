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

/** What a change has to do with besides the database. */
export interface WithChange<Refusal extends string> {
  /** Judges by the role that the member has now; null: go on. */
  readonly judge: (current: string) => Refusal | null;
  /** Of what fails here, nothing is changed. */
  readonly beforeCommit: () => Promise<void>;
}
const NOTHING: WithChange<never> = { judge: () => null, beforeCommit: async () => undefined };

export const setRole = <Refusal extends string = never>(
  db: Db,
  tenantId: string,
  accountId: string,
  role: RoleName,
  also: WithChange<Refusal> = NOTHING,
): Promise<MemberChange | Refusal> =>
  change(db, tenantId, accountId, role === "owner", also, async (tx) => {
    await tx.update(member).set({ role }).where(isMember(tenantId, accountId));
  });

export const removeMember = <Refusal extends string = never>(
  db: Db,
  tenantId: string,
  accountId: string,
  also: WithChange<Refusal> = NOTHING,
): Promise<MemberChange | Refusal> =>
  change(db, tenantId, accountId, false, also, async (tx) => {
    await tx.delete(member).where(isMember(tenantId, accountId));
    await tx.delete(signInCode).where(and(eq(signInCode.tenantId, tenantId), eq(signInCode.userId, accountId)));
  });

/** Does `work` unless it takes the last owner away. The organisation's row is locked: two owners can't remove each other at once. */
async function change<Refusal extends string>(
  db: Db,
  tenantId: string,
  accountId: string,
  staysOwner: boolean,
  { judge, beforeCommit }: WithChange<Refusal>,
  work: (tx: Db) => Promise<void>,
): Promise<MemberChange | Refusal> {
  return await db.transaction(async (tx): Promise<MemberChange | Refusal> => {
    await tx.select().from(organization).where(eq(organization.id, tenantId)).for("update");
    const [found] = await tx.select().from(member).where(isMember(tenantId, accountId));
    if (found === undefined) return "not-found";
    const refusal = judge(found.role);
    if (refusal !== null) return refusal;
    if (found.role === "owner" && !staysOwner) {
      const owners = await tx
        .select({ id: member.id })
        .from(member)
        .where(and(eq(member.organizationId, tenantId), eq(member.role, "owner")))
        .limit(2);
      if (owners.length < 2) return "last-owner";
    }
    await work(tx);
    await beforeCommit();
    return "done";
  });
}

const isMember = (tenantId: string, accountId: string) =>
  and(eq(member.organizationId, tenantId), eq(member.userId, accountId));
