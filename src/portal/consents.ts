import { and, desc, eq, isNull } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { consent, member, session, signInCode, user } from "../db/portal-schema.ts";
import { newId } from "../shared/ids.ts";
import { LIMITS } from "./limits.ts";

/** A tenant that asks to know who somebody is. */
export interface AskingTenant {
  readonly tenantId: string;
  /** `slug` or `slug@cluster`. */
  readonly name: string;
  /** Its host, or one of its targets', that the visitor comes from; lower case, no port. */
  readonly host: string;
}

export interface ConsentView extends AskingTenant {
  readonly createdAt: Date;
}

/**
 * That accounts let tenants know who they are, which they are asked for where they are no members: members were invited, or made the tenant
 * themselves.
 */
export interface Consents {
  has(accountId: string, tenantId: string): Promise<boolean>;
  /** Safe to repeat. */
  give(accountId: string, tenant: AskingTenant): Promise<void>;
  /** Tenants that know the account and that it is no member of, newest first. */
  listOf(accountId: string): Promise<ConsentView[]>;
  /**
   * Takes it back and ends the account's sessions on tenants' hosts. Those of all tenants, as a sign-out does, for a session there is known by
   * the portal's session alone; this one stays, so that the others give a new one without asking. Answers whether there was a consent.
   */
  forget(accountId: string, tenantId: string): Promise<boolean>;
}

export function createConsents(db: Db): Consents {
  return {
    async has(accountId, tenantId) {
      const rows = await db
        .select({ tenantId: consent.tenantId })
        .from(consent)
        .where(isOf(accountId, tenantId))
        .limit(1);
      return rows.length > 0;
    },
    async give(accountId, { tenantId, name, host }) {
      const values = { userId: accountId, tenantId, tenantName: name, host };
      await db.insert(consent).values(values).onConflictDoNothing();
    },
    async listOf(accountId) {
      return await db
        .select({
          tenantId: consent.tenantId,
          name: consent.tenantName,
          host: consent.host,
          createdAt: consent.createdAt,
        })
        .from(consent)
        .leftJoin(member, and(eq(member.userId, consent.userId), eq(member.organizationId, consent.tenantId)))
        .where(and(eq(consent.userId, accountId), isNull(member.id)))
        .orderBy(desc(consent.createdAt))
        .limit(LIMITS.listedConsents);
    },
    async forget(accountId, tenantId) {
      return await db.transaction(async (tx) => {
        // Two at once would wait for each other's sessions otherwise.
        await tx.select({ id: user.id }).from(user).where(eq(user.id, accountId)).for("update");
        const gone = await tx.delete(consent).where(isOf(accountId, tenantId)).returning();
        if (gone.length === 0) return false;
        // Codes refer to the session that they came from.
        await tx.delete(signInCode).where(eq(signInCode.userId, accountId));
        const own = await tx
          .select({ id: session.id })
          .from(session)
          .where(eq(session.userId, accountId))
          .for("update");
        for (const { id } of own)
          await tx
            .update(session)
            .set({ id: newId("ses") })
            .where(eq(session.id, id));
        return true;
      });
    },
  };
}

const isOf = (accountId: string, tenantId: string) =>
  and(eq(consent.userId, accountId), eq(consent.tenantId, tenantId));
