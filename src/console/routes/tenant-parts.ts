import { z } from "@hono/zod-openapi";
import { asc, eq } from "drizzle-orm";
import { workspaces } from "../../db/schema.ts";
import { findTenant, lockTenant, routesOf } from "../../db/tenants.ts";
import { ensureMemberInput } from "../../protocol/portal-rpc.ts";
import { newId } from "../../shared/ids.ts";
import { ok } from "../../shared/result.ts";
import { etagOf, NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { label } from "../names.ts";
import type { ConsoleApp } from "../respond.ts";
import { routeView, workspaceView } from "../views.ts";
import { tenantParams as params } from "./tenants.ts";

const tag = "tenants";
const listOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item) });

export function tenantPartRoutes(app: ConsoleApp): void {
  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/tenants/{tenant}/routes",
      tag,
      summary: "List its routes",
      scope: "read",
      status: 200,
      params,
      answer: listOf(routeView),
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      return ok({
        body: { items: await routesOf(db, found.tenant.id) },
        headers: { etag: etagOf(found.tenant.revision) },
      });
    },
  );

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/tenants/{tenant}/workspaces",
      tag,
      scope: "read",
      status: 200,
      summary: "List its workspaces",
      params,
      answer: listOf(workspaceView),
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findTenant(db, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const rows = await db
        .select()
        .from(workspaces)
        .where(eq(workspaces.tenantId, found.tenant.id))
        .orderBy(asc(workspaces.name));
      return ok({ body: { items: rows.map(viewWorkspace) } });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/tenants/{tenant}/workspaces",
      tag,
      scope: "write",
      status: 201,
      summary: "Add a workspace, where the tenant may have several",
      params,
      body: z.strictObject({ name: label }),
      answer: workspaceView,
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, body, now }) => {
      const found = await findTenant(tx, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const { id: tenantId, multipleWorkspaces } = found.tenant;
      if (!multipleWorkspaces)
        return fail("conflict", "This tenant has one workspace. Set multipleWorkspaces to allow more.");
      const [row] = await tx
        .insert(workspaces)
        .values({ id: newId("wks"), tenantId, name: body.name, createdAt: now })
        .returning();
      if (row === undefined) throw new Error("no row came back");
      return ok({
        body: viewWorkspace(row),
        audit: { action: "workspace.create", subjectId: row.id, tenantId, details: { name: row.name } },
      });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/tenants/{tenant}/members",
      tag,
      scope: "write",
      status: 201,
      summary: "Make a person a member; an account that exists keeps its password",
      params,
      body: ensureMemberInput
        .pick({
          email: true,
          password: true,
          role: true,
        })
        .openapi("NewMember"),
      answer: z
        .object({
          accountId: z.string(),
          created: z.boolean(),
        })
        .openapi("Member"),
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, body, ports }) => {
      // The lock holds back a deletion until the member is made: its step remove-members then finds them.
      const found = await lockTenant(tx, params.tenant);
      if (found === null) return notFound("tenant", params.tenant);
      const { id: tenantId, slug, state } = found.tenant;
      if (state === "deleting") return fail("conflict", "The tenant is being deleted.");
      let member: { accountId: string; created: boolean };
      try {
        member = await ports.members.ensureMember({ tenantId, slug, cluster: found.cluster.name, ...body });
      } catch {
        ports.log.warn("the portal did not make the member", { tenantId });
        return fail("not-available", "The portal could not make the member right now. Try again shortly.");
      }
      const { accountId, created } = member;
      return ok({
        body: { accountId, created },
        audit: { action: "member.ensure", subjectId: accountId, tenantId, details: { role: body.role } },
      });
    },
  );
}

const viewWorkspace = (row: typeof workspaces.$inferSelect) => ({
  id: row.id,
  name: row.name,
  isDefault: row.isDefault,
  createdAt: row.createdAt.toISOString(),
});
