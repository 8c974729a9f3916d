import { and, asc, count, eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { member, organization, user } from "../db/portal-schema.ts";
import { roleName, type RoleName } from "../protocol/portal-rpc.ts";
import type { CreateOwnTenantResult, TenantsRpc, TenantStatus } from "../protocol/tenants-rpc.ts";
import { newId } from "../shared/ids.ts";
import type { Logger } from "../shared/log.ts";
import type { PortalSession } from "./accounts.ts";
import { errorFields } from "./error-fields.ts";
import { LIMITS } from "./limits.ts";
import type { PortalSettings } from "./settings.ts";

/** A tenant as one of its members sees it. */
export interface OwnTenant {
  readonly tenantId: string;
  /** `slug` or `slug@cluster`. */
  readonly name: string;
  readonly role: RoleName;
  /** Null: the console does not answer, or knows no such tenant. */
  readonly status: TenantStatus | null;
}

export type NewTenantOutcome =
  | { readonly kind: "created"; readonly tenantId: string }
  /** `problem`: a sentence. */
  | { readonly kind: "refused"; readonly problem: string };

/** An account's own tenants: which, in what state, and new ones. */
export interface OwnTenants {
  list(accountId: string): Promise<OwnTenant[]>;
  /** Null when the account is no member. */
  find(accountId: string, tenantId: string): Promise<OwnTenant | null>;
  /** How many more the account may create. */
  room(accountId: string): Promise<number>;
  create(session: PortalSession, slug: string, requestId: string): Promise<NewTenantOutcome>;
  /** Null: the console does not answer, or knows no such tenant. */
  status(tenantId: string): Promise<TenantStatus | null>;
}

export interface OwnTenantsPorts {
  readonly db: Db;
  readonly tenants: TenantsRpc;
  readonly log: Logger;
}

export function createOwnTenants(
  { db, tenants, log }: OwnTenantsPorts,
  settings: Pick<PortalSettings, "tenantsPerAccount">,
): OwnTenants {
  /** People get their list, with or without what the console knows. */
  async function statuses(tenantIds: readonly string[]): Promise<TenantStatus[]> {
    try {
      return await tenants.show(tenantIds);
    } catch (error) {
      log.warn("the console did not show tenants", errorFields(error));
      return [];
    }
  }

  async function memberships(accountId: string, tenantId: string | null): Promise<OwnTenant[]> {
    const rows = await db
      .select({ tenantId: organization.id, name: organization.name, role: member.role })
      .from(member)
      .innerJoin(organization, eq(organization.id, member.organizationId))
      .where(and(eq(member.userId, accountId), tenantId === null ? undefined : eq(organization.id, tenantId)))
      .orderBy(asc(organization.name))
      .limit(LIMITS.listedTenants);
    const known = rows.length === 0 ? [] : await statuses(rows.map((row) => row.tenantId));
    return rows.map((row) => ({
      ...row,
      role: roleName.catch("viewer").parse(row.role),
      status: known.find((status) => status.tenantId === row.tenantId) ?? null,
    }));
  }

  async function owned(tx: Db, accountId: string): Promise<number> {
    const [total] = await tx
      .select({ owned: count() })
      .from(member)
      .where(and(eq(member.userId, accountId), eq(member.role, "owner")));
    return total?.owned ?? 0;
  }

  /** Its owner comes first: a tenant that nobody owns is worse than an owner of a tenant that never came. Null: no room. */
  async function reserve(accountId: string, slug: string): Promise<string | null> {
    return await db.transaction(async (tx) => {
      // Creations of one account come one after the other, so that the count holds.
      await tx.select({ id: user.id }).from(user).where(eq(user.id, accountId)).for("update");
      if ((await owned(tx, accountId)) >= settings.tenantsPerAccount) return null;
      const tenantId = newId("ten");
      await tx.insert(organization).values({ id: tenantId, name: slug, slug: tenantId });
      await tx.insert(member).values({ id: newId("key"), organizationId: tenantId, userId: accountId, role: "owner" });
      return tenantId;
    });
  }

  const forget = async (tenantId: string): Promise<void> => {
    await db.delete(organization).where(eq(organization.id, tenantId));
  };

  return {
    list: (accountId) => memberships(accountId, null),
    find: async (accountId, tenantId) => (await memberships(accountId, tenantId))[0] ?? null,
    room: async (accountId) => Math.max(0, settings.tenantsPerAccount - (await owned(db, accountId))),
    status: async (tenantId) => (await statuses([tenantId]))[0] ?? null,
    async create(session, slug, requestId) {
      const { accountId } = session;
      const tenantId = await reserve(accountId, slug);
      if (tenantId === null) return { kind: "refused", problem: NO_ROOM };
      let result: CreateOwnTenantResult;
      try {
        result = await tenants.create({ tenantId, slug, accountId, requestId });
      } catch (error) {
        log.warn("the console did not create a tenant", { tenantId, ...errorFields(error) });
        // It may have been made all the same, and only the answer was lost: then it is this account's.
        if ((await tenants.show([tenantId])).length > 0) return { kind: "created", tenantId };
        await forget(tenantId);
        return { kind: "refused", problem: "Tenants can't be created right now. Try again in a moment." };
      }
      if (result.kind === "created") return { kind: "created", tenantId };
      await forget(tenantId);
      return { kind: "refused", problem: PROBLEMS[result.code] ?? result.detail.replace(/^slug: /, "") };
    },
  };
}

const NO_ROOM = "Your account has as many tenants as it may. Ask the operator of the platform for more.";
/** In place of the console's words to operators. */
const PROBLEMS: Readonly<Record<string, string>> = {
  conflict: "This name is taken. Choose another one.",
  "no-capacity": "The platform has no room for another tenant right now. Its operator knows; try again later.",
};
