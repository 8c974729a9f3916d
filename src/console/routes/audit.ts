import { z } from "@hono/zod-openapi";
import { and, desc, eq, lt } from "drizzle-orm";
import { auditEvents } from "../../db/schema.ts";
import { findTenant } from "../../db/tenants.ts";
import { ok } from "../../shared/result.ts";
import { NO_INPUT, read } from "../endpoint.ts";
import { notFound } from "../failure.ts";
import { page, pageQuery, paged, sequenceOf } from "../paging.ts";
import type { ConsoleApp } from "../respond.ts";
import { auditView } from "../views.ts";

export function auditRoutes(app: ConsoleApp): void {
  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/audit",
      tag: "audit",
      scope: "read",
      status: 200,
      summary: "List who did what, the newest first",
      query: pageQuery
        .pick({
          limit: true,
          cursor: true,
        })
        .extend({
          tenant: z.string().optional(),
          action: z.string().optional(),
          subject: z.string().optional(),
        }),
      answer: page(auditView),
      refusals: ["not-found"],
    },
    async (db, { query }) => {
      const only = query.tenant === undefined ? undefined : await findTenant(db, query.tenant);
      if (only === null) return notFound("tenant", query.tenant ?? "");
      const rows = await db
        .select()
        .from(auditEvents)
        .where(
          and(
            only === undefined ? undefined : eq(auditEvents.tenantId, only.tenant.id),
            query.action === undefined ? undefined : eq(auditEvents.action, query.action),
            query.subject === undefined ? undefined : eq(auditEvents.subjectId, query.subject),
            query.cursor === undefined ? undefined : lt(auditEvents.seq, sequenceOf(query.cursor)),
          ),
        )
        .orderBy(desc(auditEvents.seq))
        .limit(query.limit + 1);
      const view = (row: (typeof rows)[number]) => ({
        id: row.id,
        at: row.at.toISOString(),
        actor: row.actor,
        action: row.action,
        subjectId: row.subjectId,
        tenantId: row.tenantId,
        requestId: row.requestId,
        details: row.details,
      });
      return ok({ body: paged(rows, query.limit, view, (row) => [String(row.seq)]) });
    },
  );
}
