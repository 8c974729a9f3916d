import { eq } from "drizzle-orm";
import { expect, test } from "vitest";
import { cancelOperation } from "../../../src/db/cancel-operation.ts";
import { PLANS } from "../../../src/db/operations.ts";
import { services } from "../../../src/db/schema.ts";
import { directoryShard } from "../../../src/policy/record.ts";
import { MAX_STEP_ATTEMPTS } from "../../../src/provisioner/limits.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { holdAt, settle } from "./failure-injections.ts";
import { rerouted } from "./failure-moves.ts";
import { atNode, behave, change, expectAgreement, makeSubject, prefixesOf } from "./failure-subject.ts";
import type { Subject } from "./failure-subject.ts";
import { bindings, operationOf, world } from "./support.ts";
import type { World } from "./support.ts";

const cancel = (w: World, id: string) =>
  w.db.transaction((tx) => cancelOperation(tx, id, new Date(w.ports.clock() - 1)));

const stop = (w: World, subject: Subject) =>
  change(w, subject, "tenant-services", (tx) =>
    tx.update(services).set({ stopped: true }).where(eq(services.tenantId, subject.tenantId)),
  );

const BEFORE = ["/app", "/connectors", "/manager"];

/** Rows, directory and node have what they had before any change. */
async function expectOld(w: World, subject: Subject, where: string): Promise<void> {
  await expectAgreement(w, subject);
  expect(await prefixesOf(w, subject), where).toEqual(BEFORE);
  const rows = await w.db.select().from(services).where(eq(services.tenantId, subject.tenantId));
  expect(
    rows.map((row) => [row.stopped, row.status]),
    where,
  ).toEqual(rows.map(() => [false, "RUNNING"]));
  const node = await atNode(subject.nodeId, subject.tenantId);
  expect(
    node?.services.map((one) => one.stopped === true),
    where,
  ).toEqual([false, false, false]);
}

test("cancelled in whichever step before visitors have it, a change leaves everything as it was, also by a run in the middle of it (H52)", async () => {
  const w = world();
  const subject = await makeSubject(w);
  for (const kind of ["tenant-routes", "tenant-services"] as const)
    for (const [position, step] of PLANS[kind].slice(0, 2).entries()) {
      const where = `${kind} ${step}`;
      const id = kind === "tenant-routes" ? await rerouted(w, subject, "/new") : await stop(w, subject);
      const held = await holdAt(w, id, position);
      const cancelled = await cancel(w, id);
      if (!cancelled.ok || cancelled.value.rollback === null) throw new Error(`${where}: not taken back`);
      await Promise.allSettled([held.step(held.context), settle(w, cancelled.value.rollback.operationId)]);
      await settle(w, cancelled.value.rollback.operationId);
      await expectOld(w, subject, where);
      expect((await operationOf(w, id)).operation, where).toMatchObject({ state: "failed", leaseToken: null });
    }
});

test("a change that waits for a node that is offline is taken back at once: the node never learns of it", async () => {
  const w = world();
  const subject = await makeSubject(w);
  await behave(subject.nodeId)({ kind: "silent", online: false, enrolled: true });
  const id = await rerouted(w, subject, "/new");
  await runOperation(w.ports, id);
  expect((await operationOf(w, id)).operation.reason).toBe("the node is offline");
  const cancelled = await cancel(w, id);
  if (!cancelled.ok || cancelled.value.rollback === null) throw new Error("not taken back");
  await runOperation(w.ports, cancelled.value.rollback.operationId);
  expect((await operationOf(w, cancelled.value.rollback.operationId)).operation.state).toBe("succeeded");
  await expectOld(w, subject, "offline");
});

test("a change that the node refuses, or that can't be published, takes itself back", async () => {
  const w = world();
  const subject = await makeSubject(w);
  await behave(subject.nodeId)({ kind: "rejects", reason: "no such image" });
  const refused = await stop(w, subject);
  await runOperation(w.ports, refused);
  await behave(subject.nodeId)({ kind: "live" });
  await settle(w, refused);
  expect((await operationOf(w, refused)).operation).toMatchObject({
    state: "failed",
    reason: expect.stringContaining("no such image"),
  });
  await expectOld(w, subject, "refused");

  await bindings.DIRECTORY.getByName(directoryShard(subject.host)).failNext(MAX_STEP_ATTEMPTS);
  const unpublished = await rerouted(w, subject, "/new");
  await settle(w, unpublished);
  expect((await operationOf(w, unpublished)).operation.state).toBe("failed");
  await expectOld(w, subject, "directory away");
});

test("too late once it is published: the change goes on to its end", async () => {
  const w = world();
  const subject = await makeSubject(w);
  const id = await stop(w, subject);
  await holdAt(w, id, 2);
  expect(await cancel(w, id)).toMatchObject({ ok: false, error: { reason: "too-late", step: "publish" } });
  w.advance(11_000);
  await settle(w, id);
  expect((await operationOf(w, id)).operation).toMatchObject({ state: "succeeded", work: {} });
  await expectAgreement(w, subject);
});
