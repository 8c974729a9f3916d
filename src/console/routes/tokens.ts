import { z } from "@hono/zod-openapi";
import { and, asc, eq, gt, sql } from "drizzle-orm";
import { apiTokens } from "../../db/schema.ts";
import { ok } from "../../shared/result.ts";
import { NO_INPUT, read, write } from "../endpoint.ts";
import { notFound } from "../failure.ts";
import { page, paged, pageQuery } from "../paging.ts";
import type { ConsoleApp } from "../respond.ts";
import { apiTokenView, viewApiToken } from "../views.ts";

/** Tokens of this API. They are made beside it, with the database's own rights (`causeway token create`), so that none makes its successor. */
export function tokenRoutes(app: ConsoleApp): void {
  const tag = "tokens";

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/tokens",
      tag,
      scope: "admin",
      status: 200,
      summary: "List this API's tokens, revoked and expired ones too: the audit names them. None is shown",
      query: pageQuery,
      answer: page(apiTokenView),
    },
    async (db, { query }) => {
      const rows = await db
        .select()
        .from(apiTokens)
        .where(
          and(
            query.q === undefined ? undefined : sql`strpos(${apiTokens.name}, ${query.q}) > 0`,
            query.cursor === undefined ? undefined : gt(apiTokens.id, query.cursor[0] ?? ""),
          ),
        )
        .orderBy(asc(apiTokens.id))
        .limit(query.limit + 1);
      return ok({ body: paged(rows, query.limit, viewApiToken, (row) => [row.id]) });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "delete",
      path: "/tokens/{token}",
      tag,
      scope: "admin",
      status: 200,
      summary: "Revoke a token: it is refused from now on. One may revoke itself",
      params: z.object({ token: z.string().openapi({ description: "Its id, not the token itself" }) }),
      answer: apiTokenView,
      refusals: ["not-found"],
    },
    async (tx, { params, now }) => {
      const [row] = await tx
        .update(apiTokens)
        // The first revocation's time stays.
        .set({ revokedAt: sql`coalesce(${apiTokens.revokedAt}, ${now.toISOString()}::timestamptz)` })
        .where(eq(apiTokens.id, params.token))
        .returning();
      if (row === undefined) return notFound("token", params.token);
      return ok({
        body: viewApiToken(row),
        audit: { action: "token.revoke", subjectId: row.id, tenantId: null, details: { name: row.name } },
      });
    },
  );
}
