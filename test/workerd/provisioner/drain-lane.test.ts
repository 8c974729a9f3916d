import { expect, test } from "vitest";
import { DRAIN_SUBJECT, enqueueOperation } from "../../../src/db/operations.ts";
import type { OperationRow } from "../../../src/db/operations.ts";
import { connectors } from "../../../src/db/schema.ts";
import { DRAIN_BATCH, DRAIN_SLACK_MS } from "../../../src/provisioner/limits.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { newId } from "../../../src/shared/ids.ts";
import { makeCluster, operationOf, requestTenant, world } from "./support.ts";
import type { World } from "./support.ts";

// A side of the relay is emptied over all tenants: real objects of both lanes; who asks them what is seen at the port.
type Asked = { readonly tenantId: string; readonly lane: "a" | "b"; readonly call: "drain" | "serve" };

function watching(w: World, left: (tenantId: string) => number) {
  const asked: Asked[] = [];
  const lanes: World["ports"]["lanes"] = (tenantId) => {
    const [a, b] = w.ports.lanes(tenantId);
    const seen = (lane: "a" | "b", real: typeof a): typeof a => ({
      putConnector: (grant) => real.putConnector(grant),
      removeConnector: (id, revision) => real.removeConnector(id, revision),
      putSettings: (settings) => real.putSettings(settings),
      kick: (id, instance) => real.kick(id, instance),
      pairingRequests: () => real.pairingRequests(),
      settlePairing: (id) => real.settlePairing(id),
      accepts: (target) => real.accepts(target),
      sessions: () => real.sessions(),
      async serve() {
        asked.push({ tenantId, lane, call: "serve" });
        await real.serve();
      },
      async drain(graceMs, holdMs) {
        asked.push({ tenantId, lane, call: "drain" });
        const answer = await real.drain(graceMs, holdMs);
        return { ...answer, inFlight: answer.inFlight + left(tenantId) };
      },
    });
    return [seen("a", a), seen("b", b)];
  };
  return { asked, ports: { ...w.ports, lanes } };
}

/** So many tenants with a connector each, without waiting for their operations. */
async function tenantsWithConnectors(w: World, count: number): Promise<string[]> {
  const { cluster } = await makeCluster([count]);
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const { tenantId } = await requestTenant(cluster, `drained-${i}`);
    await w.db.insert(connectors).values({ id: newId("con"), tenantId, name: "plant-1" });
    ids.push(tenantId);
  }
  return ids;
}

const progressOf = ({ work }: OperationRow) => (work !== null && "progress" in work ? work.progress : undefined);

const begin = (w: World, lane: "a" | "b", graceMs: number) =>
  w.db.transaction(async (tx) => {
    const wanted = { kind: "relay-drain", subjectId: DRAIN_SUBJECT, tenantId: null, now: new Date(0) } as const;
    return (await enqueueOperation(tx, { ...wanted, work: { lane, graceMs } })).operationId;
  });

test("every tenant's lane of that side is asked until nothing is left, the other side serves; what is left is told (T06, P23)", async () => {
  const w = world();
  const ids = await tenantsWithConnectors(w, DRAIN_BATCH + 3);
  const [busy = ""] = ids;
  let left = 2;
  const { asked, ports } = watching(w, (tenantId) => (tenantId === busy ? left : 0));
  const id = await begin(w, "a", 60_000);
  await runOperation(ports, id);
  const first = (await operationOf(w, id)).operation;
  expect(first).toMatchObject({ state: "pending", reason: expect.stringMatching(/^1 of \d+ tenants .* 2 requests/) });
  expect(progressOf(first)?.last).toMatchObject({ busy: 1, inFlight: 2, sockets: 0 });
  const drained = new Set(
    asked.flatMap(({ tenantId, lane, call }) => (lane === "a" && call === "drain" ? tenantId : [])),
  );
  expect(ids.filter((one) => !drained.has(one))).toEqual([]);
  expect(asked.filter(({ lane, call }) => (call === "drain") !== (lane === "a"))).toEqual([]);

  left = 0;
  w.advance(2_000);
  await runOperation(ports, id);
  const { operation } = await operationOf(w, id);
  expect(operation).toMatchObject({ state: "succeeded", reason: null });
  expect(progressOf(operation)?.last).toMatchObject({ busy: 0, inFlight: 0 });
});

test("a run that died goes on where it was, and streams that never end hold it no longer than the grace", async () => {
  const w = world();
  const ids = await tenantsWithConnectors(w, DRAIN_BATCH + 3);
  const died = watching(w, () => 1);
  let calls = 0;
  const dying = {
    ...died.ports,
    lanes: (tenantId: string) => {
      calls += 1;
      if (calls > DRAIN_BATCH) throw new Error("died for a test");
      return died.ports.lanes(tenantId);
    },
  };
  const id = await begin(w, "b", 10_000);
  await runOperation(dying, id);
  const { operation } = await operationOf(w, id);
  expect(operation).toMatchObject({ state: "pending", attempts: 1 });
  const cursor = progressOf(operation)?.cursor ?? "";
  expect(cursor).not.toBe("");

  const second = watching(w, () => 1);
  w.advance(2_000);
  await runOperation(second.ports, id);
  expect(second.asked.find(({ call }) => call === "drain")?.tenantId.localeCompare(cursor)).toBe(1);
  expect(ids.length).toBeGreaterThan(DRAIN_BATCH);
  expect((await operationOf(w, id)).operation.state).toBe("pending");
  w.advance(10_000 + DRAIN_SLACK_MS);
  await runOperation(second.ports, id);
  const end = (await operationOf(w, id)).operation;
  expect(end.state).toBe("succeeded");
  expect(progressOf(end)?.last?.busy).toBeGreaterThanOrEqual(ids.length);
});
