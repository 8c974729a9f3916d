import { eq, sql } from "drizzle-orm";
import { expect, test } from "vitest";
import { enqueueOperation } from "../../../src/db/operations.ts";
import { tenants } from "../../../src/db/schema.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { bindings, lookup, makeCluster, operationOf, requestTenant, tenantRow, world } from "./support.ts";

test("route first, then services, then data; other tenants untouched, and the name is free again (H56, G16)", async () => {
  const w = world();
  const { cluster, nodeIds } = await makeCluster();
  const gone = await requestTenant(cluster, "gone");
  const stays = await requestTenant(cluster, "stays");
  for (const { operationId } of [gone, stays]) await runOperation(w.ports, operationId);
  const { operationId } = await w.db.transaction(async (tx) => {
    await tx
      .update(tenants)
      .set({ state: "deleting", revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, gone.tenantId));
    return enqueueOperation(tx, {
      kind: "tenant-delete",
      subjectId: gone.tenantId,
      tenantId: gone.tenantId,
      now: new Date(0),
    });
  });
  await Promise.all([1, 2, 3].map(() => runOperation(w.ports, operationId)));
  const { operation, steps } = await operationOf(w, operationId);
  expect(operation).toMatchObject({ state: "succeeded", reason: null });
  expect(steps.map(({ name }) => name)).toEqual([
    "withdraw-host",
    "remove-from-node",
    "remove-connectors",
    "drop-schema",
    "forget",
  ]);
  expect(await lookup(gone.host)).toBeNull();
  expect(await tenantRow(w, gone.tenantId)).toBeUndefined();
  const { changes } = await bindings.NODE_CHANNEL.getByName(nodeIds[0] ?? "").seen();
  expect(changes.at(-1)).toMatchObject({ kind: "remove", tenantId: gone.tenantId });
  expect(await w.admin`select 1 from pg_namespace where nspname = ${gone.tenantId}`).toEqual([]);
  expect(await w.admin`select 1 from pg_roles where rolname = ${gone.tenantId}`).toEqual([]);

  expect((await lookup(stays.host))?.state).toBe("active");
  expect(await w.admin`select count(*)::int as n from pg_namespace where nspname = ${stays.tenantId}`).toEqual([
    { n: 1 },
  ]);

  const again = await requestTenant(cluster, "gone");
  await runOperation(w.ports, again.operationId);
  expect((await lookup(again.host))?.tenantId).toBe(again.tenantId);
  // A late message of the old one's creation has nothing to work on.
  await runOperation(w.ports, gone.operationId);
  expect((await lookup(again.host))?.tenantId).toBe(again.tenantId);
});
