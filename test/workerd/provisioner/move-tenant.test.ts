import { eq, sql } from "drizzle-orm";
import { describe, expect, test } from "vitest";
import { cancelOperation } from "../../../src/db/cancel-operation.ts";
import {
  cancelOpenOperations,
  enqueueOperation,
  nodeDrainSubject,
  retryOperation,
} from "../../../src/db/operations.ts";
import { nodes, operations, tenants } from "../../../src/db/schema.ts";
import { directoryShard } from "../../../src/policy/record.ts";
import { EDGES_FOLLOW_MS, LEASE_MS, MAX_STEP_ATTEMPTS, NODE_DRAIN_PARALLEL } from "../../../src/provisioner/limits.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import {
  bindings,
  lookup,
  makeCluster,
  operationOf,
  requestDeletion,
  requestTenant,
  tenantRow,
  world,
} from "./support.ts";
import type { World } from "./support.ts";

const DRAIN_MS = 20_000;

/** What POST /tenants/{tenant}/move writes. */
const beginMove = (w: World, tenantId: string, toNodeId: string | null = null): Promise<string> =>
  w.db.transaction(async (tx) => {
    await tx
      .update(tenants)
      .set({ revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, tenantId));
    const subject = { subjectId: tenantId, tenantId, now: new Date(0) };
    const work = { toNodeId, drainMs: DRAIN_MS };
    return (await enqueueOperation(tx, { kind: "tenant-move", ...subject, work })).operationId;
  });

const channelOf = (nodeId: string) => bindings.NODE_CHANNEL.getByName(nodeId);
const has = async (nodeId: string, tenantId: string): Promise<boolean> =>
  (await channelOf(nodeId).status(tenantId)) !== null;

/** A tenant on the first node of two. */
async function settled(w: World, capacities: readonly number[] = [10, 5]) {
  const { cluster, nodeIds } = await makeCluster(capacities);
  const [from = "", to = ""] = nodeIds;
  const made = await requestTenant(cluster, "mover", `${cluster}-n0`);
  await runOperation(w.ports, made.operationId);
  return { ...made, cluster, nodeIds, from, to };
}

/** Where it is, as visitors, nodes and control data see it. */
async function whereIs(w: World, { tenantId, host, from, to }: Awaited<ReturnType<typeof settled>>) {
  const row = await tenantRow(w, tenantId);
  const name = (id: string | null | undefined): string | null => (id === from ? "from" : id === to ? "to" : null);
  return {
    published: name((await lookup(host))?.node?.id),
    at: [...((await has(from, tenantId)) ? ["from"] : []), ...((await has(to, tenantId)) ? ["to"] : [])],
    node: name(row?.nodeId),
    next: name(row?.nextNodeId),
    leaving: name(row?.leavingNodeId),
  };
}

const AT_OLD = { published: "from", at: ["from"], node: "from", next: null, leaving: null };
const AT_NEW = { published: "to", at: ["to"], node: "to", next: null, leaving: null };

const stateOf = async (w: World, id: string) => (await operationOf(w, id)).operation;

/** Runs whatever the tenant has open, again and again while time passes. */
async function runAll(w: World, tenantId: string): Promise<void> {
  for (let round = 0; round < 60; round += 1) {
    const rows = await w.db.select().from(operations).where(eq(operations.subjectId, tenantId));
    const open = rows.filter(({ state }) => state === "pending" || state === "running");
    if (open.length === 0) return;
    for (const { id } of open.toSorted((a, b) => a.seq - b.seq)) await runOperation(w.ports, id);
    w.advance(LEASE_MS + 5_000);
  }
  throw new Error("operations do not come to an end");
}

describe("a move", () => {
  test("publishes the new node when that has the tenant live, and takes it from the old one after its drain time (D3, H19)", async () => {
    const w = world();
    const t = await settled(w);
    await channelOf(t.to).behave({ kind: "silent", online: true, enrolled: true });
    const id = await beginMove(w, t.tenantId);
    await runOperation(w.ports, id);
    expect(await whereIs(w, t)).toEqual({ ...AT_OLD, at: ["from", "to"], next: "to" });
    expect(await stateOf(w, id)).toMatchObject({ state: "pending", reason: expect.stringContaining("live yet") });

    await channelOf(t.to).behave({ kind: "live" });
    w.advance(2_000);
    await runOperation(w.ports, id);
    expect(await whereIs(w, t)).toEqual({ ...AT_NEW, at: ["from", "to"], leaving: "from" });
    const waiting = await stateOf(w, id);
    expect(waiting.reason).toContain("may end until");
    // The deadline is stored: messages that come early, twice or again don't move it.
    w.advance(EDGES_FOLLOW_MS + DRAIN_MS - 2_000);
    await Promise.all([1, 2, 3].map(() => runOperation(w.ports, id)));
    expect((await stateOf(w, id)).nextAttemptAt).toEqual(waiting.nextAttemptAt);
    expect(await has(t.from, t.tenantId)).toBe(true);
    w.advance(2_500);
    await Promise.all([1, 2, 3].map(() => runOperation(w.ports, id)));
    expect((await stateOf(w, id)).state).toBe("succeeded");
    expect(await whereIs(w, t)).toEqual(AT_NEW);

    // A message of long ago changes nothing, and it can go back.
    await runOperation(w.ports, id);
    await beginMove(w, t.tenantId, t.from);
    await runAll(w, t.tenantId);
    expect(await whereIs(w, t)).toEqual(AT_OLD);
  });

  test("of a suspended tenant leaves it suspended", async () => {
    const w = world();
    const t = await settled(w);
    await w.db.update(tenants).set({ state: "suspended" }).where(eq(tenants.id, t.tenantId));
    await beginMove(w, t.tenantId);
    await runAll(w, t.tenantId);
    expect(await whereIs(w, t)).toEqual(AT_NEW);
    expect((await lookup(t.host))?.state).toBe("suspended");
  });

  test("that the new node refuses leaves the tenant where it was, and nothing on the new one", async () => {
    const w = world();
    const t = await settled(w);
    await channelOf(t.to).behave({ kind: "rejects", reason: "no such image" });
    const id = await beginMove(w, t.tenantId);
    await runAll(w, t.tenantId);
    expect(await stateOf(w, id)).toMatchObject({ state: "failed", reason: expect.stringContaining("no such image") });
    expect(await whereIs(w, t)).toEqual(AT_OLD);
    expect((await tenantRow(w, t.tenantId))?.state).toBe("active");
    // What cleared it away came later, so a retry would be out of date; a new move is not.
    const retried = await w.db.transaction((tx) => retryOperation(tx, id, new Date(w.ports.clock())));
    expect(retried).toMatchObject({ ok: false, error: { reason: "superseded" } });
    await channelOf(t.to).behave({ kind: "live" });
    await beginMove(w, t.tenantId);
    await runAll(w, t.tenantId);
    expect(await whereIs(w, t)).toEqual(AT_NEW);
  });

  test("is cancelled while it is not published, and the tenant stays; afterwards there is only the way on", async () => {
    const w = world();
    const t = await settled(w);
    const cancel = (id: string) => w.db.transaction((tx) => cancelOperation(tx, id, new Date(w.ports.clock())));
    await channelOf(t.to).behave({ kind: "silent", online: true, enrolled: true });
    const id = await beginMove(w, t.tenantId);
    await runOperation(w.ports, id);
    expect(await cancel(id)).toMatchObject({ ok: true, value: { rollback: { operationId: expect.any(String) } } });
    await runAll(w, t.tenantId);
    expect(await stateOf(w, id)).toMatchObject({ state: "failed", reason: expect.stringContaining("cancelled: ") });
    expect(await whereIs(w, t)).toEqual(AT_OLD);

    await channelOf(t.to).behave({ kind: "live" });
    const next = await beginMove(w, t.tenantId);
    await runOperation(w.ports, next);
    expect(await cancel(next)).toMatchObject({ ok: false, error: { reason: "too-late", step: "publish" } });
    await runAll(w, t.tenantId);
    expect(await whereIs(w, t)).toEqual(AT_NEW);
  });

  test("that could not be published goes back to the old node", async () => {
    const w = world();
    const t = await settled(w);
    const directory = bindings.DIRECTORY.getByName(directoryShard(t.host));
    await directory.failNext(MAX_STEP_ATTEMPTS);
    const id = await beginMove(w, t.tenantId);
    await runAll(w, t.tenantId);
    expect(await stateOf(w, id)).toMatchObject({
      state: "failed",
      reason: expect.stringContaining("directory is down"),
    });
    expect(await whereIs(w, t)).toEqual(AT_OLD);
  });

  test("ends well though a step of it breaks once, and though the run dies in it", async () => {
    const w = world();
    const t = await settled(w);
    await bindings.DIRECTORY.getByName(directoryShard(t.host)).failNext(1);
    let breaks = 3;
    const nodeChannel: World["ports"]["nodeChannel"] = (nodeId) => {
      breaks -= 1;
      if (breaks % 2 === 0) throw new Error("the channel is away for a moment");
      return w.ports.nodeChannel(nodeId);
    };
    const flaky = { ...w, ports: { ...w.ports, nodeChannel } };
    const id = await beginMove(w, t.tenantId);
    await runAll(flaky, t.tenantId);
    expect((await stateOf(w, id)).state).toBe("succeeded");
    expect(await whereIs(w, t)).toEqual(AT_NEW);
  });

  test("does not wait for an old node that is away: its channel keeps the order", async () => {
    const w = world();
    const t = await settled(w);
    await channelOf(t.from).behave({ kind: "silent", online: false, enrolled: true });
    const id = await beginMove(w, t.tenantId);
    await runAll(w, t.tenantId);
    expect((await stateOf(w, id)).state).toBe("succeeded");
    expect((await channelOf(t.from).seen()).changes.at(-1)).toMatchObject({ kind: "remove", tenantId: t.tenantId });
  });

  test("finds no place on a full, dedicated or draining node; a dedicated one is taken by name (G50)", async () => {
    const w = world();
    const t = await settled(w, [10, 0, 10, 10]);
    const [, , dedicated = "", draining = ""] = t.nodeIds;
    await w.db
      .update(nodes)
      .set({ labels: { dedicated: "true" } })
      .where(eq(nodes.id, dedicated));
    await w.db.update(nodes).set({ state: "draining" }).where(eq(nodes.id, draining));
    const id = await beginMove(w, t.tenantId);
    await runOperation(w.ports, id);
    expect(await stateOf(w, id)).toMatchObject({ state: "pending", reason: "no other node has room for the tenant" });
    await w.db.transaction((tx) => cancelOpenOperations(tx, t.tenantId, "cancelled", new Date(w.ports.clock())));
    await beginMove(w, t.tenantId, dedicated);
    await runAll(w, t.tenantId);
    expect((await tenantRow(w, t.tenantId))?.nodeId).toBe(dedicated);
    const other = await requestTenant(t.cluster, "other");
    await runOperation(w.ports, other.operationId);
    expect((await tenantRow(w, other.tenantId))?.nodeId).toBe(t.from);
  });

  test("counts the tenant at both nodes while it lasts", async () => {
    const w = world();
    const t = await settled(w, [10, 1]);
    const second = await requestTenant(t.cluster, "second", `${t.cluster}-n0`);
    await runOperation(w.ports, second.operationId);
    const ids = [await beginMove(w, t.tenantId), await beginMove(w, second.tenantId)];
    await Promise.all(ids.map((id) => runOperation(w.ports, id)));
    const reasons = await Promise.all(ids.map(async (id) => (await stateOf(w, id)).reason ?? ""));
    expect(reasons.toSorted()).toEqual([
      "no other node has room for the tenant",
      expect.stringContaining("may end until"),
    ]);
  });

  test.each(["before", "after"])(
    "is superseded by a deletion %s its publication, and no node keeps the tenant",
    async (when) => {
      const w = world();
      const t = await settled(w);
      if (when === "before") await channelOf(t.to).behave({ kind: "silent", online: true, enrolled: true });
      await runOperation(w.ports, await beginMove(w, t.tenantId));
      expect((await whereIs(w, t)).at).toEqual(["from", "to"]);
      await channelOf(t.to).behave({ kind: "live" });
      await requestDeletion(t.tenantId);
      await runAll(w, t.tenantId);
      expect(await whereIs(w, t)).toEqual({ published: null, at: [], node: null, next: null, leaving: null });
    },
  );
});

describe("a node's drain", () => {
  const beginDrain = (w: World, nodeId: string): Promise<string> =>
    w.db.transaction(async (tx) => {
      await tx.update(nodes).set({ state: "draining" }).where(eq(nodes.id, nodeId));
      const subjectId = nodeDrainSubject.of(nodeId);
      const wanted = { kind: "node-drain", subjectId, tenantId: null, now: new Date(0), work: { drainMs: 0 } } as const;
      return (await enqueueOperation(tx, wanted)).operationId;
    });

  /** Delivers what was sent, again and again while time passes, until the drain has ended. */
  async function until(w: World, drain: string, each?: () => Promise<void>): Promise<void> {
    const begun = new Set<string>();
    for (let round = 0; round < 60; round += 1) {
      await each?.();
      await runOperation(w.ports, drain);
      if (["succeeded", "failed"].includes((await stateOf(w, drain)).state)) return;
      for (const { message } of w.sent.splice(0)) if (message.operationId !== drain) begun.add(message.operationId);
      await Promise.all([...begun].map((id) => runOperation(w.ports, id)));
      w.advance(5_000);
    }
    throw new Error("the drain does not end");
  }

  async function crowd(w: World, count: number) {
    const { cluster, nodeIds } = await makeCluster([count, count]);
    const ids: string[] = [];
    for (let n = 0; n < count; n += 1) {
      const made = await requestTenant(cluster, `guest-${n}`, `${cluster}-n0`);
      await runOperation(w.ports, made.operationId);
      ids.push(made.tenantId);
    }
    w.sent.length = 0;
    const [from = "", to = ""] = nodeIds;
    return { cluster, ids, from, to };
  }

  test("moves all its tenants, a few at a time, and takes no new ones", async () => {
    const w = world();
    const { cluster, ids, from, to } = await crowd(w, NODE_DRAIN_PARALLEL + 2);
    const drain = await beginDrain(w, from);
    let most = 0;
    await until(w, drain, async () => {
      const moving = await w.db.select().from(tenants).where(eq(tenants.nodeId, from));
      most = Math.max(most, moving.filter(({ nextNodeId }) => nextNodeId !== null).length);
    });
    expect(await stateOf(w, drain)).toMatchObject({ state: "succeeded" });
    expect(most).toBeLessThanOrEqual(NODE_DRAIN_PARALLEL);
    for (const id of ids) {
      expect(await tenantRow(w, id)).toMatchObject({ nodeId: to, nextNodeId: null, leavingNodeId: null });
      expect([await has(from, id), await has(to, id)]).toEqual([false, true]);
    }
    await expect(requestTenant(cluster, "late")).rejects.toThrow("full");
  });

  test("goes on with the others when some can't be moved, says so, and takes them up again when it is retried", async () => {
    const w = world();
    const { ids, from, to } = await crowd(w, NODE_DRAIN_PARALLEL + 1);
    await channelOf(to).behave({ kind: "rejects", reason: "no such image" });
    const drain = await beginDrain(w, from);
    let round = 0;
    await until(w, drain, async () => {
      round += 1;
      if (round === 2) await channelOf(to).behave({ kind: "live" });
    });
    expect(await stateOf(w, drain)).toMatchObject({
      state: "failed",
      reason: expect.stringMatching(/^4 tenants could not be moved; ten_\w+: the node rejected .*no such image$/),
    });
    const nodeOf = async (id: string) => (await tenantRow(w, id))?.nodeId;
    const places = await Promise.all(ids.map(nodeOf));
    expect(places.filter((id) => id === to)).toHaveLength(1);
    expect(places.filter((id) => id === from)).toHaveLength(NODE_DRAIN_PARALLEL);

    for (const id of ids) await runAll(w, id);
    await w.db.transaction((tx) => retryOperation(tx, drain, new Date(w.ports.clock())));
    await until(w, drain);
    expect((await stateOf(w, drain)).state).toBe("succeeded");
    expect(await Promise.all(ids.map(nodeOf))).toEqual(ids.map(() => to));
  });
});
