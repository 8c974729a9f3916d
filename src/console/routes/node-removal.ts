import { and, eq, inArray, isNotNull, isNull, or, sql } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { enqueueOperation, nodeDrainSubject } from "../../db/operations.ts";
import { clusters, nodes, operations, tenants } from "../../db/schema.ts";
import { ok } from "../../shared/result.ts";
import { etagOf, NO_INPUT, write } from "../endpoint.ts";
import { fail, notFound } from "../failure.ts";
import { operationLocation, shownOperation } from "../operation-view.ts";
import type { ConsoleApp } from "../respond.ts";
import { viewNode } from "../views.ts";
import { findNode, nodeOperation, nodeParams } from "./nodes.ts";

/** A node goes at once: its name is free again. What is left to do is that its channel refuses the agent, whoever has its key. */
export function nodeRemovalRoutes(app: ConsoleApp): void {
  write(
    app,
    {
      ...NO_INPUT,
      method: "delete",
      path: "/nodes/{node}",
      tag: "nodes",
      scope: "admin",
      status: 202,
      summary: "Remove a node that has no tenants: its agent is refused from then on",
      params: nodeParams,
      answer: nodeOperation,
      refusals: ["not-found", "conflict", "precondition-failed"],
    },
    async (tx, { params, now }, ifMatch) => {
      const found = await findNode(tx, params.node);
      if (found === undefined) return notFound("node", params.node);
      const { id, name, clusterId } = found.node;
      // Creations of tenants take turns with this by the same lock; whoever gives out places, by the node's.
      await tx.select({ id: clusters.id }).from(clusters).where(eq(clusters.id, clusterId)).for("no key update");
      // A wish that was granted, here or elsewhere. Before the node's lock: runs lock in that order.
      await tx
        .update(tenants)
        .set({ requestedNodeId: null })
        .where(and(eq(tenants.requestedNodeId, id), isNotNull(tenants.nodeId)));
      const [node] = await tx.select().from(nodes).where(eq(nodes.id, id)).for("update");
      if (node === undefined) return notFound("node", params.node);
      const matched = ifMatch(etagOf(node.revision));
      if (!matched.ok) return matched;
      const busy = await operationThatNames(tx, id);
      if (busy !== null)
        return fail("conflict", `Operation ${busy.id} (${busy.kind}) is about this node. Wait for its end.`);
      const has = await tenantsOf(tx, id);
      if (has > 0)
        return fail(
          "conflict",
          `Node "${name}" is not empty (tenants there, on their way or leaving: ${has}). Move them away first (causeway nodes drain ${name} --wait); delete those whose creation failed.`,
        );
      await tx.delete(nodes).where(eq(nodes.id, id));
      const [next] = await tx.execute<{ revision: number }>(
        sql`select nextval('control.revision')::float8 as revision`,
      );
      if (next === undefined) throw new Error("no revision came back");
      const work = { removedNode: name, revision: next.revision };
      const operation = await enqueueOperation(tx, { kind: "node-remove", subjectId: id, tenantId: null, now, work });
      return ok({
        body: { operation: await shownOperation(tx, operation), node: viewNode(node, found.cluster, 0) },
        headers: { location: operationLocation(operation) },
        audit: { action: "node.delete", subjectId: id, tenantId: null, details: { name, cluster: found.cluster } },
        operation,
      });
    },
  );
}

/** One that has not ended: of the node itself, its drain, or a move to it. */
async function operationThatNames(tx: Db, nodeId: string) {
  const [open] = await tx
    .select({ id: operations.id, kind: operations.kind })
    .from(operations)
    .where(
      and(
        inArray(operations.state, ["pending", "running"]),
        or(
          inArray(operations.subjectId, [nodeId, nodeDrainSubject.of(nodeId)]),
          sql`${operations.work} ->> 'toNodeId' = ${nodeId}`,
        ),
      ),
    )
    .limit(1);
  return open ?? null;
}

/** Those that are there, come, leave, or wait for a place there. */
async function tenantsOf(tx: Db, nodeId: string): Promise<number> {
  return await tx.$count(
    tenants,
    or(
      eq(tenants.nodeId, nodeId),
      eq(tenants.nextNodeId, nodeId),
      eq(tenants.leavingNodeId, nodeId),
      and(eq(tenants.requestedNodeId, nodeId), isNull(tenants.nodeId)),
    ),
  );
}
