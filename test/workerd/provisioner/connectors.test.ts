import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { eq, sql } from "drizzle-orm";
import { describe, expect, test } from "vitest";
import { enqueueOperation } from "../../../src/db/operations.ts";
import { connectorKeys, connectors, nodes } from "../../../src/db/schema.ts";
import type { RelayEvent } from "../../../src/protocol/queue-messages.ts";
import { PRESENCE_CHECK_MS, PRESENCE_GRACE_MS } from "../../../src/provisioner/limits.ts";
import { applyEvent } from "../../../src/provisioner/presence.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { sweep } from "../../../src/provisioner/sweep.ts";
import worker from "../../../src/provisioner/worker.ts";
import { newId } from "../../../src/shared/ids.ts";
import { bindings, makeCluster, operationOf, requestTenant, workerEnv, world } from "./support.ts";
import type { World } from "./support.ts";

const KEY = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", kid: "key-1" } as const;

async function makeConnector(w: World, tenantId: string, name = "plant-1") {
  const connectorId = newId("con");
  const operation = await w.db.transaction(async (tx) => {
    await tx.insert(connectors).values({ id: connectorId, tenantId, name });
    await tx.insert(connectorKeys).values({ id: newId("key"), connectorId, kid: KEY.kid, publicKey: KEY });
    return enqueueOperation(tx, { kind: "connector-publish", subjectId: connectorId, tenantId, now: new Date(0) });
  });
  return { connectorId, operationId: operation.operationId };
}

const lanesOf = (tenantId: string) => [bindings.LANE_A.getByName(tenantId), bindings.LANE_B.getByName(tenantId)];

describe("connectors", () => {
  test("are known at both lanes, with keys and rights", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { tenantId } = await requestTenant(cluster, "acme");
    const { connectorId, operationId } = await makeConnector(w, tenantId);
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation.state).toBe("succeeded");
    for (const lane of lanesOf(tenantId))
      expect(await lane.told()).toEqual([
        {
          tenantId,
          tenant: `acme@${cluster}`,
          connectorId,
          name: "plant-1",
          revision: expect.any(Number),
          disabled: false,
          keys: [KEY],
          secrets: [],
          issuerSubject: null,
          targets: null,
          readOnly: false,
          expiresAtMs: null,
          config: null,
        },
      ]);
  });

  test("that were registered while their tenant was made are published by its creation too", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { tenantId, operationId } = await requestTenant(cluster, "acme");
    const { connectorId } = await makeConnector(w, tenantId);
    await runOperation(w.ports, operationId);
    for (const lane of lanesOf(tenantId)) expect(await lane.told()).toMatchObject([{ connectorId }]);
  });

  test("are forgotten at both lanes before their row goes; a late publication does not bring them back", async () => {
    const w = world();
    const { cluster } = await makeCluster();
    const { tenantId } = await requestTenant(cluster, "acme");
    const { connectorId, operationId } = await makeConnector(w, tenantId);
    const removal = await w.db.transaction(async (tx) => {
      await tx
        .update(connectors)
        .set({ deletedAt: new Date(), revision: sql`nextval('control.revision')` })
        .where(eq(connectors.id, connectorId));
      return enqueueOperation(tx, { kind: "connector-remove", subjectId: connectorId, tenantId, now: new Date(0) });
    });
    await runOperation(w.ports, operationId);
    await runOperation(w.ports, removal.operationId);
    for (const lane of lanesOf(tenantId)) expect(await lane.told()).toMatchObject([{ removed: connectorId }]);
    expect(await w.db.select().from(connectors).where(eq(connectors.id, connectorId))).toEqual([]);
  });
});

describe("presence (H73, R03)", () => {
  const event = (
    connectorId: string,
    tenantId: string,
    over: Partial<Extract<RelayEvent, { lane: string }>>,
  ): RelayEvent => ({
    kind: "connector-online",
    tenantId,
    connectorId,
    instanceId: "instance-1",
    lane: "a",
    sessionId: "ses_1",
    reason: null,
    atMs: 1_000,
    ...over,
  });

  async function connectorOf(w: World) {
    const { cluster } = await makeCluster();
    const { tenantId } = await requestTenant(cluster, "acme");
    const { connectorId } = await makeConnector(w, tenantId);
    const state = async () => {
      const [row] = await w.db.select().from(connectors).where(eq(connectors.id, connectorId));
      return { state: row?.state, lastSeenMs: row?.lastSeenAt?.getTime() };
    };
    const on = (over: object) => applyEvent(w.db, event(connectorId, tenantId, over));
    const off = (over: object) => on({ kind: "connector-offline", ...over });
    return { state, on, off, connectorId, tenantId };
  }

  // Ids of sessions are unique in all the database.
  const session = () => newId("ses");

  test("online while a socket is open, offline when the last has gone, last seen kept", async () => {
    const { state, on, off } = await connectorOf(world());
    const [a, b] = [session(), session()];
    await on({ sessionId: a, lane: "a", atMs: 1_000 });
    await on({ sessionId: b, lane: "b", atMs: 1_100 });
    expect(await state()).toEqual({ state: "online", lastSeenMs: 1_100 });
    await off({ sessionId: a, lane: "a", atMs: 2_000 });
    expect((await state()).state).toBe("online");
    await off({ sessionId: b, lane: "b", atMs: 3_000 });
    expect(await state()).toEqual({ state: "offline", lastSeenMs: 3_000 });
  });

  test("doubled, late and out-of-order events end in the same state", async () => {
    const { state, on, off } = await connectorOf(world());
    const [older, newer] = [session(), session()];
    const events = [
      () => on({ sessionId: older, atMs: 1_000 }),
      () => off({ sessionId: older, atMs: 2_000, reason: "network" }),
      () => on({ sessionId: newer, atMs: 3_000 }),
    ];
    for (const order of [
      [2, 1, 0],
      [1, 2, 0],
      [0, 2, 1],
      [2, 2, 0, 1, 1, 0],
    ]) {
      for (const index of order) await events[index]?.();
      expect(await state()).toEqual({ state: "online", lastSeenMs: 3_000 });
    }
    await off({ sessionId: newer, atMs: 4_000 });
    for (const one of events) await one();
    expect(await state()).toEqual({ state: "offline", lastSeenMs: 4_000 });
  });

  test("a socket whose end nobody reported is over when its instance has a newer one on that lane", async () => {
    const w = world();
    const { state, on, off, connectorId } = await connectorOf(w);
    const [lost, newer] = [session(), session()];
    await on({ sessionId: lost, atMs: 1_000 });
    await on({ sessionId: newer, atMs: 2_000 });
    await off({ sessionId: newer, atMs: 3_000 });
    expect((await state()).state).toBe("offline");
    const rows = await w.admin`select reason from control.connector_sessions where id = ${lost}`;
    expect(rows).toEqual([{ reason: "replaced" }]);
    // Whichever came first.
    const [early, late] = [session(), session()];
    await on({ sessionId: late, atMs: 6_000 });
    await on({ sessionId: early, atMs: 5_000 });
    await off({ sessionId: late, atMs: 7_000 });
    expect((await state()).state).toBe("offline");
    expect(connectorId).toBeDefined();
  });

  test("two instances are counted apart (H81)", async () => {
    const { state, on, off } = await connectorOf(world());
    const [one, two] = [session(), session()];
    await on({ sessionId: one, instanceId: "one", atMs: 1_000 });
    await on({ sessionId: two, instanceId: "two", atMs: 1_000 });
    await off({ sessionId: one, instanceId: "one", atMs: 2_000 });
    expect((await state()).state).toBe("online");
  });

  test("an event of a connector that is gone, or names another tenant's, is dropped", async () => {
    const w = world();
    const { state, connectorId } = await connectorOf(w);
    await applyEvent(w.db, event(newId("con"), newId("ten"), { sessionId: session() }));
    await applyEvent(w.db, event(connectorId, newId("ten"), { sessionId: session() }));
    expect((await state()).state).toBe("offline");
  });

  test("nodes: the newest event decides; an enrolment closes the token that was used and no newer one", async () => {
    const w = world();
    const { nodeIds } = await makeCluster();
    const nodeId = nodeIds[0] ?? "";
    const node = async () => (await w.db.select().from(nodes).where(eq(nodes.id, nodeId)))[0];
    await applyEvent(w.db, { kind: "node-online", nodeId, atMs: 3_000 });
    await applyEvent(w.db, { kind: "node-offline", nodeId, atMs: 2_000 });
    expect(await node()).toMatchObject({ online: true, lastSeenAt: new Date(3_000) });
    await applyEvent(w.db, { kind: "node-offline", nodeId, atMs: 4_000 });
    expect((await node())?.online).toBe(false);

    const open = (at: number) =>
      w.db
        .update(nodes)
        .set({ enrolmentHash: "hash", enrolmentOpenedAt: new Date(at), enrolmentExpiresAt: new Date(at + 1_000) })
        .where(eq(nodes.id, nodeId));
    await open(5_000);
    await applyEvent(w.db, { kind: "node-enrolled", nodeId, atMs: 6_000 });
    expect(await node()).toMatchObject({ enrolmentHash: null, enrolledAt: new Date(6_000) });
    await open(7_000);
    await applyEvent(w.db, { kind: "node-enrolled", nodeId, atMs: 6_000 });
    expect((await node())?.enrolmentHash).toBe("hash");
  });

  test("a socket that was lost with its lane is found by the sweep; a young one and a node's agent are left alone", async () => {
    const w = world();
    const { state, on, connectorId } = await connectorOf(w);
    const [lost, young] = [session(), session()];
    await on({ sessionId: lost, instanceId: "lost", atMs: Date.now() - 120_000 });
    await on({ sessionId: young, instanceId: "young", atMs: Date.now() });
    await sweep(w.ports);
    const reasons = async () =>
      (
        await w.admin`select reason from control.connector_sessions where connector_id = ${connectorId} order by online_at`
      ).map(({ reason }) => reason);
    expect(await reasons()).toEqual(["lost", null]);
    expect((await state()).state).toBe("online");
    // Not asked again at once.
    w.advance(PRESENCE_GRACE_MS + 1_000);
    await sweep(w.ports);
    expect((await state()).state).toBe("online");
    w.advance(PRESENCE_CHECK_MS);
    await sweep(w.ports);
    expect(await reasons()).toEqual(["lost", "lost"]);
    expect((await state()).state).toBe("offline");
  });

  test("a node whose agent went with its channel is found by the sweep", async () => {
    const w = world();
    const { nodeIds } = await makeCluster([1, 1]);
    const [gone = "", there = ""] = nodeIds;
    await bindings.NODE_CHANNEL.getByName(gone).behave({ kind: "silent", online: false, enrolled: true });
    for (let round = 0; round < 4; round++) await sweep(w.ports);
    const online = async (id: string) => (await w.db.select().from(nodes).where(eq(nodes.id, id)))[0]?.online;
    expect([await online(gone), await online(there)]).toEqual([false, true]);
  });

  test("through the queue, with one that is no event", async () => {
    const w = world();
    const { state, connectorId, tenantId } = await connectorOf(w);
    const batch = createMessageBatch(
      "causeway-events",
      [event(connectorId, tenantId, { sessionId: session() }), { kind: "nonsense" }].map((body, index) => ({
        id: String(index),
        timestamp: new Date(),
        attempts: 1,
        body,
      })),
    );
    await worker.queue(batch, workerEnv);
    expect((await getQueueResult(batch, createExecutionContext())).explicitAcks.toSorted()).toEqual(["0", "1"]);
    expect((await state()).state).toBe("online");
  });
});

test("a node's channel learns who may enrol, and only as long as that is open", async () => {
  const w = world();
  const { nodeIds } = await makeCluster();
  const nodeId = nodeIds[0] ?? "";
  const publish = async () => {
    const { operationId } = await w.db.transaction((tx) =>
      enqueueOperation(tx, { kind: "node-publish", subjectId: nodeId, tenantId: null, now: new Date(0) }),
    );
    await runOperation(w.ports, operationId);
  };
  await w.db
    .update(nodes)
    .set({ enrolmentHash: "a".repeat(64), enrolmentOpenedAt: new Date(0), enrolmentExpiresAt: new Date(9_000) })
    .where(eq(nodes.id, nodeId));
  await publish();
  await w.db
    .update(nodes)
    .set({ enrolmentHash: null, enrolmentOpenedAt: null, enrolmentExpiresAt: null, state: "disabled" })
    .where(eq(nodes.id, nodeId));
  await publish();
  const { grants } = await bindings.NODE_CHANNEL.getByName(nodeId).seen();
  expect(grants).toMatchObject([
    { nodeId, disabled: false, enrolment: { secretHash: "a".repeat(64), expiresAtMs: 9_000 } },
    { nodeId, disabled: true, enrolment: null },
  ]);
});
