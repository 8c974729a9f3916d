import { and, eq, inArray, sql } from "drizzle-orm";
import { expect } from "vitest";
import { enqueueOperation, nodeDrainSubject } from "../../../src/db/operations.ts";
import type { OperationKind } from "../../../src/db/operations.ts";
import { nodes, operations, routes } from "../../../src/db/schema.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { holdAt } from "./failure-injections.ts";
import { behave, countsOf, expectAgreement, change, cancelDead, prefixesOf } from "./failure-subject.ts";
import type { Subject, Arrange, Case } from "./failure-subject.ts";
import { makeCluster, operationOf, requestTenant } from "./support.ts";
import type { World } from "./support.ts";

const beginMove = (w: World, subject: Subject, toNodeId: string): Promise<string> =>
  change(w, subject, "tenant-move", async () => {}, { work: { toNodeId, drainMs: 0 } });

/** A change of routes, services or place that was cancelled or failed before visitors had what is new. `at`: the step that its run died in. */
const takenBack =
  (at: number, begin: (w: World, subject: Subject, here: string) => Promise<string>): Arrange =>
  async (w, subject) => {
    const here = await expectAgreement(w, subject);
    const before = await prefixesOf(w, subject);
    const undone = await begin(w, subject, here === subject.nodeId ? subject.otherNodeId : subject.nodeId);
    const { step, context } = await holdAt(w, undone, at);
    await step(context);
    return {
      operationId: await cancelDead(w, undone),
      behave: behave(here),
      async check() {
        expect(await expectAgreement(w, subject)).toBe(here);
        expect(await prefixesOf(w, subject)).toEqual(before);
        expect((await operationOf(w, undone)).operation).toMatchObject({
          state: "failed",
          reason: expect.stringMatching(/^cancelled: /),
        });
      },
    };
  };

export const rerouted = (w: World, subject: Subject, prefix: string): Promise<string> =>
  change(w, subject, "tenant-routes", (tx) =>
    tx
      .update(routes)
      .set({ prefix })
      .where(sql`${routes.tenantId} = ${subject.tenantId} and ${routes.destination} = 'app'`),
  );

/** Moves, drains and what takes changes back. */
export const MOVES = {
  "tenant-move": async (w, subject) => {
    const from = await expectAgreement(w, subject);
    const to = from === subject.nodeId ? subject.otherNodeId : subject.nodeId;
    return {
      operationId: await beginMove(w, subject, to),
      behave: behave(to),
      check: async () => expect(await expectAgreement(w, subject)).toBe(to),
      async again() {
        expect(await expectAgreement(w, subject)).toBe(from);
        return await beginMove(w, subject, to);
      },
    };
  },
  "tenant-move-undo": [
    {
      name: "before the new node is the tenant's",
      steps: ["leave-node"],
      arrange: takenBack(2, beginMove),
    },
    {
      name: "when the directory may know the new node already",
      steps: ["publish", "drain-old-node", "leave-node"],
      arrange: takenBack(4, beginMove),
    },
  ],
  "tenant-change-undo": [
    {
      name: "of routes",
      steps: ["settle-node", "publish"],
      arrange: takenBack(1, (w, subject) => rerouted(w, subject, "/taken-back")),
    },
    {
      name: "of a rotation",
      steps: ["drop-next-login"],
      arrange: async (w, subject) => {
        const { roles } = await countsOf(w, subject.tenantId);
        const rotation = await change(w, subject, "tenant-rotate-credentials", async () => {});
        const { step, context } = await holdAt(w, rotation, 0);
        await step(context);
        return {
          operationId: await cancelDead(w, rotation),
          async check() {
            expect(await countsOf(w, subject.tenantId)).toMatchObject({ credentials: 1, roles });
            await expectAgreement(w, subject);
          },
        };
      },
    },
  ],
  "node-drain": async (w) => {
    const { cluster, nodeIds } = await makeCluster([10, 10]);
    const [nodeId = "", otherNodeId = ""] = nodeIds;
    const guests: { tenantId: string; host: string }[] = [];
    for (const slug of ["ann", "bob"]) {
      const guest = await requestTenant(cluster, slug, `${cluster}-n0`);
      await runOperation(w.ports, guest.operationId);
      guests.push(guest);
    }
    const { operationId } = await w.db.transaction(async (tx) => {
      await tx.update(nodes).set({ state: "draining" }).where(eq(nodes.id, nodeId));
      const subjectId = nodeDrainSubject.of(nodeId);
      const wanted = { kind: "node-drain", subjectId, tenantId: null, now: new Date(0) } as const;
      return enqueueOperation(tx, { ...wanted, work: { drainMs: 0 } });
    });
    const moves = async () => {
      const ids = guests.map(({ tenantId }) => tenantId);
      const isMove = and(inArray(operations.subjectId, ids), eq(operations.kind, "tenant-move"));
      return await w.db.select().from(operations).where(isMove);
    };
    return {
      operationId,
      others: async () =>
        (await moves()).flatMap(({ id, state }) => (state === "pending" || state === "running" ? [id] : [])),
      async check() {
        for (const guest of guests)
          expect(await expectAgreement(w, { ...guest, nodeId, otherNodeId })).toBe(otherNodeId);
        // One move each, however often the drain began anew.
        expect(await moves()).toHaveLength(guests.length);
      },
    };
  },
} as const satisfies Partial<Record<OperationKind, Arrange | readonly Case[]>>;
