import { z } from "@hono/zod-openapi";
import { and, count, eq, ne, sql } from "drizzle-orm";
import { cancelOpenOperations, enqueueOperation, nodeDrainSubject, openOperation } from "../../db/operations.ts";
import { isDedicated, takesTenants } from "../../db/placement.ts";
import { nodes, tenants } from "../../db/schema.ts";
import { ok } from "../../shared/result.ts";
import { beginChange } from "../begin-change.ts";
import { etagOf, NO_INPUT, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { MOVE_DRAIN_SECONDS, MOVE_DRAIN_SECONDS_MAX } from "../limits.ts";
import { freePlaces, moveTarget } from "../move-target.ts";
import { operationLocation, shownOperation } from "../operation-view.ts";
import type { ConsoleApp } from "../respond.ts";
import { nodeView, viewNode } from "../views.ts";
import { findNode, nodeOperation, nodeParams } from "./nodes.ts";
import { started, tenantParams } from "./tenants.ts";

const drainSeconds = z.number().int().min(0).max(MOVE_DRAIN_SECONDS_MAX).default(MOVE_DRAIN_SECONDS).openapi({
  description:
    "Requests and WebSockets that are open at the old node may end within this, counted from when every visitor is sent to the new one",
});

/** On which node a tenant is. */
export function placementRoutes(app: ConsoleApp): void {
  write(
    app,
    {
      ...NO_INPUT,
      method: "post",
      path: "/tenants/{tenant}/move",
      tag: "tenants",
      scope: "write",
      status: 202,
      summary: "Move it to another node of its cluster, without a failed request",
      params: tenantParams,
      body: z
        .strictObject({
          node: z.string().optional().openapi({ description: "Default: the other node with the most room" }),
          drainSeconds,
        })
        .openapi("TenantMove"),
      answer: started,
      refusals: ["not-found", "conflict", "precondition-failed", "no-capacity"],
    },
    (tx, call, ifMatch) =>
      beginChange(tx, call, ifMatch, {
        kind: "tenant-move",
        from: ["active", "suspended"],
        whileBusy: "refuse",
        apply: async (tenant) => {
          const target = await moveTarget(tx, tenant, call.body.node);
          if (!target.ok) return target;
          const work = { toNodeId: target.value, drainMs: call.body.drainSeconds * 1_000 };
          return ok({ work, details: { from: tenant.nodeId, to: target.value } });
        },
      }),
  );

  const ofNode = { ...NO_INPUT, method: "post", tag: "nodes", scope: "admin", params: nodeParams } as const;

  write(
    app,
    {
      ...ofNode,
      path: "/nodes/{node}/drain",
      status: 202,
      summary: "Empty a node: it takes no new tenants, and those that it has move away, a few at a time",
      body: z.strictObject({ drainSeconds }).openapi("NodeDrain"),
      answer: nodeOperation,
      refusals: ["not-found", "conflict", "no-capacity"],
    },
    async (tx, { params, body, now }) => {
      const found = await findNode(tx, params.node);
      if (found === undefined) return notFound("node", params.node);
      const { id, clusterId, name, role } = found.node;
      if (role === "master") return fail("conflict", `"${name}" is a master: it has no tenants to move away.`);
      const [row] = await tx
        .update(nodes)
        .set({ state: "draining", revision: sql`nextval('control.revision')`, updatedAt: now })
        .where(and(eq(nodes.id, id), ne(nodes.state, "disabled")))
        .returning();
      if (row === undefined) return fail("conflict", `Node "${name}" is disabled.`);
      const subjectId = nodeDrainSubject.of(id);
      const open = await openOperation(tx, subjectId);
      if (open !== null) return fail("conflict", `Operation ${open.id} (${open.kind}) empties this node already.`);
      const others = await tx.select().from(nodes).where(takesTenants(clusterId));
      const free = await freePlaces(
        tx,
        others.filter((node) => !isDedicated(node)),
      );
      const [needed] = await tx.select({ n: count() }).from(tenants).where(eq(tenants.nodeId, id));
      if ((needed?.n ?? 0) > free)
        return fail(
          "no-capacity",
          `The other active nodes of cluster "${found.cluster}" have ${free} places left; ${needed?.n ?? 0} are needed.`,
        );
      const work = { drainMs: body.drainSeconds * 1_000 };
      const operation = await enqueueOperation(tx, { kind: "node-drain", subjectId, tenantId: null, now, work });
      return ok({
        body: {
          operation: await shownOperation(tx, operation),
          node: viewNode(row, found.cluster, found.tenants),
        },
        headers: { location: operationLocation(operation), etag: etagOf(row.revision) },
        audit: { action: "node.drain", subjectId: id, tenantId: null, details: { name } },
        operation,
      });
    },
  );

  write(
    app,
    {
      ...ofNode,
      path: "/nodes/{node}/activate",
      status: 200,
      summary: "Let a node take tenants again; ends its drain. Moves that have begun go on",
      answer: nodeView,
      refusals: ["not-found", "conflict"],
    },
    async (tx, { params, now }) => {
      const found = await findNode(tx, params.node);
      if (found === undefined) return notFound("node", params.node);
      const { id, name } = found.node;
      // Before the node's row is locked: the drain's run locks in that order.
      const reason = "cancelled: the node was made active again";
      const cancelled = await cancelOpenOperations(tx, nodeDrainSubject.of(id), reason, now);
      const [row] = await tx
        .update(nodes)
        .set({ state: "active", revision: sql`nextval('control.revision')`, updatedAt: now })
        .where(and(eq(nodes.id, id), ne(nodes.state, "disabled")))
        .returning();
      if (row === undefined) return fail("conflict", `Node "${name}" is disabled.`);
      return ok({
        body: viewNode(row, found.cluster, found.tenants),
        headers: { etag: etagOf(row.revision) },
        audit: { action: "node.activate", subjectId: id, tenantId: null, details: { name, cancelled } },
      });
    },
  );
}
