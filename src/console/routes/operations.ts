import { z } from "@hono/zod-openapi";
import { and, desc, eq, lt } from "drizzle-orm";
import { cancelOperation } from "../../db/cancel-operation.ts";
import { retryOperation, withSteps } from "../../db/operations.ts";
import { operations } from "../../db/schema.ts";
import { findTenant } from "../../db/tenants.ts";
import { HEADER } from "../../protocol/headers.ts";
import { ok } from "../../shared/result.ts";
import { authorize } from "../auth.ts";
import { NO_INPUT, read, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { operationEvents } from "../operation-events.ts";
import { findOperation, operationLocation, shownOperation } from "../operation-view.ts";
import { page, pageQuery, paged, sequenceOf } from "../paging.ts";
import { refuse } from "../respond.ts";
import type { ConsoleApp } from "../respond.ts";
import { operationView, viewOperation } from "../views.ts";

const tag = "operations";
const params = z.object({ operation: z.string() });

export function operationRoutes(app: ConsoleApp): void {
  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/operations",
      tag,
      summary: "List operations, the newest first",
      scope: "read",
      status: 200,
      query: pageQuery
        .pick({
          limit: true,
          cursor: true,
        })
        .extend({
          tenant: z.string().optional(),
          state: operationView.shape.state.optional(),
          subject: z.string().optional().openapi({ description: "Id of a tenant, connector or node" }),
        }),
      answer: page(operationView),
      refusals: ["not-found"],
    },
    async (db, { query }) => {
      const only = query.tenant === undefined ? undefined : await findTenant(db, query.tenant);
      if (only === null) return notFound("tenant", query.tenant ?? "");
      const rows = await db
        .select()
        .from(operations)
        .where(
          and(
            only === undefined ? undefined : eq(operations.tenantId, only.tenant.id),
            query.state === undefined ? undefined : eq(operations.state, query.state),
            query.subject === undefined ? undefined : eq(operations.subjectId, query.subject),
            query.cursor === undefined ? undefined : lt(operations.seq, sequenceOf(query.cursor)),
          ),
        )
        .orderBy(desc(operations.seq))
        .limit(query.limit + 1);
      const shown = await withSteps(db, rows);
      return ok({ body: paged(shown, query.limit, viewOperation, ({ operation }) => [String(operation.seq)]) });
    },
  );

  read(
    app,
    {
      ...NO_INPUT,
      method: "get",
      path: "/operations/{operation}",
      tag,
      summary: "Show an operation",
      scope: "read",
      status: 200,
      params,
      answer: operationView,
      refusals: ["not-found"],
    },
    async (db, { params }) => {
      const found = await findOperation(db, params.operation);
      return found === null ? notFound("operation", params.operation) : ok({ body: found });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/operations/{operation}/retry",
      tag,
      scope: "write",
      status: 202,
      summary: "Try a failed operation again, from the step that failed",
      params,
      answer: z.object({ operation: operationView }),
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, now }) => {
      const retried = await retryOperation(tx, params.operation, now);
      if (!retried.ok) {
        switch (retried.error.reason) {
          case "unknown":
            return notFound("operation", params.operation);
          case "not-failed":
            return fail("conflict", "Only a failed operation can be tried again.");
          case "superseded":
            return fail("conflict", "A later operation was started for the same thing; this one is out of date.");
        }
      }
      const operation = await shownOperation(tx, retried.value);
      return ok({
        body: { operation },
        headers: { location: operationLocation(retried.value) },
        audit: {
          action: "operation.retry",
          subjectId: operation.id,
          tenantId: operation.tenantId,
          details: { kind: operation.kind },
        },
        operation: retried.value,
      });
    },
  );

  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/operations/{operation}/cancel",
      tag,
      scope: "write",
      status: 202,
      summary:
        "End an operation that is under way, and take back what it did; also a tenant that could not be made. Refused once what it makes is in use",
      params,
      answer: z.object({
        operation: operationView,
        rollback: operationView
          .nullable()
          .openapi({ description: "Takes back what was made; null: nothing has to be" }),
      }),
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, now }) => {
      const cancelled = await cancelOperation(tx, params.operation, now);
      if (!cancelled.ok) {
        switch (cancelled.error.reason) {
          case "unknown":
            return notFound("operation", params.operation);
          case "ended":
            return fail("conflict", "The operation has ended; there is nothing to cancel.");
          case "not-cancellable":
            return fail(
              "conflict",
              `A ${cancelled.error.kind} can't be cancelled: it must not stay half done. Ask for the opposite instead.`,
            );
          case "too-late":
            return fail(
              "conflict",
              `It is too late to cancel this ${cancelled.error.kind}: its step ${cancelled.error.step} is done, and what it makes is in use. When it has ended, take it back by another change.`,
            );
        }
      }
      const { rollback, next } = cancelled.value;
      const operation = await findOperation(tx, params.operation);
      if (operation === null) return notFound("operation", params.operation);
      const message = next ?? rollback;
      return ok({
        body: { operation, rollback: rollback === null ? null : await shownOperation(tx, rollback) },
        ...(rollback !== null && { headers: { location: operationLocation(rollback) } }),
        audit: {
          action: "operation.cancel",
          subjectId: operation.id,
          tenantId: operation.tenantId,
          details: { kind: operation.kind, ...(rollback !== null && { rollback: rollback.operationId }) },
        },
        ...(message !== null && { operation: message }),
      });
    },
  );

  const path = "/api/v1/operations/{operation}/events";
  app.openAPIRegistry.registerPath({
    method: "get",
    path,
    tags: [tag],
    security: [{ bearer: [] }],
    request: { params },
    summary: "Follow an operation: server-sent events, `operation` with each change, until it has succeeded or failed",
    description: "Scope: read.",
    responses: {
      200: {
        description: "Events",
        content: { "text/event-stream": { schema: z.string() } },
      },
    },
  });
  app.get("/api/v1/operations/:operation/events", async (c) => {
    const caller = await authorize(c.env.db, c.req.header("authorization"), "read", new Date(c.env.clock()));
    if (!caller.ok) return refuse(c, caller.error);
    const first = await findOperation(c.env.db, c.req.param("operation"));
    if (first === null)
      return refuse(c, { code: "not-found", detail: `There is no operation "${c.req.param("operation")}".` });
    return new Response(operationEvents(c.env, first), {
      headers: {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        [HEADER.requestId]: c.var.requestId,
      },
    });
  });
}
