import { z } from "@hono/zod-openapi";
import { findTenant, lockTenant } from "../../db/tenants.ts";
import type { TenantAndCluster } from "../../db/tenants.ts";
import type { Db } from "../../db/client.ts";
import { revokeSessions } from "../../policy/revocation.ts";
import { roleName, type InviteResult } from "../../protocol/portal-rpc.ts";
import { ok } from "../../shared/result.ts";
import type { Result } from "../../shared/result.ts";
import { beginChange } from "../begin-change.ts";
import { NO_INPUT, read, write } from "../endpoint.ts";
import type { IfMatch, Written } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import type { Failure } from "../failure.ts";
import type { ConsolePorts } from "../ports.ts";
import type { ConsoleApp } from "../respond.ts";
import { started, tenantParams } from "./tenants.ts";

const memberView = z
  .object({ accountId: z.string(), email: z.string(), role: z.string(), since: z.iso.datetime() })
  .openapi("TenantMember");
const invitationView = z
  .object({
    id: z.string(),
    email: z.string(),
    role: z.string(),
    expiresAt: z.iso.datetime().openapi({ description: "In the past: nobody took it; send it again or revoke it" }),
  })
  .openapi("Invitation");
const invited = z.object({ id: z.string(), expiresAt: z.iso.datetime() }).openapi("Invited");

const accountId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, "not an account's id");
const invitationId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, "not an invitation's id");

/** Members and invitations, which the portal keeps: the console asks it, and ends sessions where somebody may do less from now on. */
export function memberRoutes(app: ConsoleApp): void {
  const common = { ...NO_INPUT, tag: "members", params: tenantParams } as const;

  read(
    app,
    {
      ...common,
      method: "get",
      path: "/tenants/{tenant}/members",
      scope: "read",
      status: 200,
      summary: "List its members and open invitations",
      answer: z.object({ items: z.array(memberView), invitations: z.array(invitationView) }),
      refusals: ["not-found"],
    },
    async (db, { params, ports }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const listed = await asked(ports, "listMembers", () => ports.members.listMembers(found.tenant.id));
      if (!listed.ok) return listed;
      const { members, invitations } = listed.value;
      return ok({
        body: {
          items: members.map(({ sinceMs, ...member }) => ({ ...member, since: new Date(sinceMs).toISOString() })),
          invitations: invitations.map(({ invitationId: id, email, role, expiresAtMs }) => ({
            id,
            email,
            role,
            expiresAt: new Date(expiresAtMs).toISOString(),
          })),
        },
      });
    },
  );

  write(
    app,
    {
      ...common,
      method: "patch",
      path: "/tenants/{tenant}/members/{account}",
      scope: "write",
      status: 202,
      summary: "Change a member's role; their sessions begin anew with it within 10 s",
      params: tenantParams.extend({ account: accountId }),
      body: z.strictObject({ role: roleName }),
      answer: started,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    (tx, call, ifMatch) =>
      afterwardsEndSessions(tx, call, ifMatch, (tenantId) =>
        call.ports.members.setRole(tenantId, call.params.account, call.body.role),
      ),
  );

  write(
    app,
    {
      ...common,
      method: "delete",
      path: "/tenants/{tenant}/members/{account}",
      scope: "write",
      status: 202,
      summary: "Remove a member; their sessions on the tenant's hosts end within 10 s",
      params: tenantParams.extend({ account: accountId }),
      answer: started,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    (tx, call, ifMatch) =>
      afterwardsEndSessions(tx, call, ifMatch, async (tenantId) => {
        const change = await call.ports.members.removeMember(tenantId, call.params.account);
        // Repeated, it ends the sessions all the same: a first try may have failed between the two.
        return change === "not-found" ? "done" : change;
      }),
  );

  write(
    app,
    {
      ...common,
      method: "post",
      path: "/tenants/{tenant}/invitations",
      scope: "write",
      status: 201,
      summary: "Invite somebody by mail; inviting again replaces the open invitation",
      body: z.strictObject({ email: z.email().max(254), role: roleName.default("member") }),
      answer: invited,
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, body, ports }) => {
      const found = await liveTenant(tx, params.tenant);
      if (!found.ok) return found;
      const { tenant, cluster } = found.value;
      const input = { tenantId: tenant.id, slug: tenant.slug, cluster: cluster.name, ...body };
      const result = await asked(ports, "invite", () => ports.members.invite(input));
      return result.ok ? invitedAnswer(result.value, tenant.id, "member.invite", { role: body.role }) : result;
    },
  );

  write(
    app,
    {
      ...common,
      method: "post",
      path: "/tenants/{tenant}/invitations/{invitation}/resend",
      scope: "write",
      status: 201,
      summary: "Send an invitation again; its old link stops working",
      params: tenantParams.extend({ invitation: invitationId }),
      answer: invited,
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, ports }) => {
      const found = await liveTenant(tx, params.tenant);
      if (!found.ok) return found;
      const { id } = found.value.tenant;
      const result = await asked(ports, "resend", () => ports.members.resend(id, params.invitation));
      if (!result.ok) return result;
      if (result.value.kind === "not-found") return notFound("invitation", params.invitation);
      return invitedAnswer(result.value, id, "member.invite-again", {});
    },
  );

  write(
    app,
    {
      ...common,
      method: "delete",
      path: "/tenants/{tenant}/invitations/{invitation}",
      scope: "write",
      status: 200,
      summary: "Revoke an invitation: its link stops working",
      params: tenantParams.extend({ invitation: invitationId }),
      answer: z.object({ id: z.string() }),
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, ports }) => {
      const found = await liveTenant(tx, params.tenant);
      if (!found.ok) return found;
      const { id } = found.value.tenant;
      const revoked = await asked(ports, "revokeInvitation", () =>
        ports.members.revokeInvitation(id, params.invitation),
      );
      if (!revoked.ok) return revoked;
      if (!revoked.value) return notFound("invitation", params.invitation);
      return ok({
        body: { id: params.invitation },
        audit: { action: "member.uninvite", subjectId: params.invitation, tenantId: id, details: {} },
      });
    },
  );
}

type Change = (tenantId: string) => Promise<"done" | "not-found" | "last-owner">;

/**
 * Changes a membership at the portal, then ends the account's sessions by the directory. In this order: a session that began in between would
 * otherwise outlast the change.
 */
async function afterwardsEndSessions(
  tx: Db,
  call: { params: { tenant: string; account: string }; now: Date; ports: ConsolePorts },
  ifMatch: IfMatch,
  change: Change,
): Promise<Result<Written, Failure>> {
  const { account } = call.params;
  return await beginChange(tx, call, ifMatch, {
    kind: "tenant-revoke-sessions",
    from: ["active", "suspended"],
    whileBusy: "queue",
    apply: async (tenant) => {
      const changed = await asked(call.ports, "change of a member", () => change(tenant.id));
      if (!changed.ok) return changed;
      if (changed.value === "not-found") return notFound("member", account);
      if (changed.value === "last-owner")
        return fail("conflict", "It is the tenant's last owner. Make somebody else an owner first.");
      const nowSeconds = Math.floor(call.ports.clock() / 1_000);
      return ok({ set: revokeSessions(tenant, account, nowSeconds), details: { accountId: account } });
    },
  });
}

/** The lock holds back a deletion, whose step remove-members then finds what was made meanwhile. */
async function liveTenant(tx: Db, name: string): Promise<Result<TenantAndCluster, Failure>> {
  const found = await lockTenant(tx, name);
  if (found === null) return notFound("tenant", name);
  return found.tenant.state === "deleting" ? fail("conflict", "The tenant is being deleted.") : ok(found);
}

async function asked<T>(ports: ConsolePorts, call: string, work: () => Promise<T>): Promise<Result<T, Failure>> {
  try {
    return ok(await work());
  } catch {
    ports.log.warn("the portal did not answer", { call });
    return fail("not-available", "The portal does not answer right now. Try again shortly.");
  }
}

function invitedAnswer(
  result: InviteResult,
  tenantId: string,
  action: string,
  details: Record<string, unknown>,
): Result<Written, Failure> {
  if (result.kind === "already-member") return fail("conflict", "This person is a member already.");
  if (result.kind === "too-many")
    return fail("conflict", "The tenant has too many open invitations. Revoke some first.");
  if (result.kind === "no-mail")
    return fail("conflict", "The portal is set up without mail, so nobody can be invited.");
  const { invitationId: id, expiresAtMs } = result;
  return ok({
    body: { id, expiresAt: new Date(expiresAtMs).toISOString() },
    audit: { action, subjectId: id, tenantId, details },
  });
}
