import type { Db } from "../db/client.ts";
import type { InvitationView, InviteResult, MemberChange, MemberView, RoleName } from "../protocol/portal-rpc.ts";
import type { TenantsRpc } from "../protocol/tenants-rpc.ts";
import { invite, resendInvitation, revokeInvitation, type InvitationPorts } from "./invitations.ts";
import { listMembers, removeMember, setRole } from "./member-changes.ts";
import type { OwnTenant } from "./own-tenants.ts";
import type { PortalSettings } from "./settings.ts";

/** Who changes the members of which tenant. */
export interface Acting {
  readonly tenant: OwnTenant;
  readonly accountId: string;
  readonly requestId: string;
}

export type MemberOutcome = MemberChange | "forbidden";
export type InviteOutcome = InviteResult | { readonly kind: "not-found" } | { readonly kind: "forbidden" };

/**
 * The members of a tenant, as its owners and admins manage them. An admin neither makes nor changes owners. Whoever loses a role loses its
 * sessions on the tenant's hosts with it: if these can't be ended, nothing is changed.
 */
export interface TenantMembers {
  list(tenantId: string): Promise<{ members: MemberView[]; invitations: InvitationView[] }>;
  invite(acting: Acting, email: string, role: RoleName): Promise<InviteOutcome>;
  resend(acting: Acting, invitationId: string): Promise<InviteOutcome>;
  revoke(acting: Acting, invitationId: string): Promise<MemberOutcome>;
  setRole(acting: Acting, accountId: string, role: RoleName): Promise<MemberOutcome>;
  /** Anybody may leave. */
  remove(acting: Acting, accountId: string): Promise<MemberOutcome>;
}

export const mayManage = (role: RoleName): boolean => role === "owner" || role === "admin";
/** Roles that somebody may give, and whose holders somebody may change. */
export const rolesBelow = (role: RoleName): readonly RoleName[] => {
  if (role === "owner") return ["owner", "admin", "member", "viewer"];
  return role === "admin" ? ["admin", "member", "viewer"] : [];
};

export function createTenantMembers(
  ports: InvitationPorts & { readonly db: Db; readonly tenants: Pick<TenantsRpc, "endSessions"> },
  settings: PortalSettings,
): TenantMembers {
  const { db, tenants } = ports;

  const endSessions = (acting: Acting, accountId: string, reason: "role-changed" | "removed") => async () => {
    const { tenant, accountId: byAccountId, requestId } = acting;
    await tenants.endSessions({ tenantId: tenant.tenantId, accountId, byAccountId, requestId, reason });
  };

  /** Judged by the role that the other one has at that moment. */
  const judgedBy =
    ({ tenant }: Acting) =>
    (current: string) =>
      rolesBelow(tenant.role).some((role) => role === current) ? null : ("forbidden" as const);

  return {
    list: (tenantId) => listMembers(db, tenantId),
    async invite(acting, email, role) {
      const { tenant } = acting;
      if (!rolesBelow(tenant.role).includes(role)) return { kind: "forbidden" };
      const [slug = "", cluster = "default"] = tenant.name.split("@");
      return await invite(ports, settings, { tenantId: tenant.tenantId, slug, cluster, email, role });
    },
    async resend({ tenant }, invitationId) {
      if (!mayManage(tenant.role)) return { kind: "forbidden" };
      return await resendInvitation(ports, settings, tenant.tenantId, invitationId);
    },
    async revoke({ tenant }, invitationId) {
      if (!mayManage(tenant.role)) return "forbidden";
      return (await revokeInvitation(db, tenant.tenantId, invitationId)) ? "done" : "not-found";
    },
    async setRole(acting, accountId, role) {
      const { tenant } = acting;
      if (!rolesBelow(tenant.role).includes(role)) return "forbidden";
      const also = { judge: judgedBy(acting), beforeCommit: endSessions(acting, accountId, "role-changed") };
      return await setRole(db, tenant.tenantId, accountId, role, also);
    },
    async remove(acting, accountId) {
      const also = {
        judge: accountId === acting.accountId ? () => null : judgedBy(acting),
        beforeCommit: endSessions(acting, accountId, "removed"),
      };
      return await removeMember(db, acting.tenant.tenantId, accountId, also);
    },
  };
}
