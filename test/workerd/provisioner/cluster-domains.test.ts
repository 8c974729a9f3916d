import { eq } from "drizzle-orm";
import { expect, test } from "vitest";
import { enqueueOperation, retryOperation } from "../../../src/db/operations.ts";
import { clusters, hosts, tenants } from "../../../src/db/schema.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { bindings, lookup, makeCluster, operationOf, requestTenant, tenantRow, world } from "./support.ts";
import type { World } from "./support.ts";

// A cluster gets other base domains: real objects, a real database; the messages are in the test's hand.

async function makeTenants(w: World, slugs: readonly string[]) {
  const made = await makeCluster();
  const ids: string[] = [];
  for (const slug of slugs) {
    const { tenantId, operationId } = await requestTenant(made.cluster, slug);
    await runOperation(w.ports, operationId);
    ids.push(tenantId);
  }
  return { ...made, ids, channel: bindings.NODE_CHANNEL.getByName(made.nodeIds[0] ?? "") };
}

/** What PATCH /clusters/{cluster} writes. */
async function change(w: World, cluster: string, baseDomains: string[]): Promise<string> {
  const { operationId } = await w.db.transaction(async (tx) => {
    const [row] = await tx.update(clusters).set({ baseDomains }).where(eq(clusters.name, cluster)).returning();
    const now = new Date(w.ports.clock());
    return enqueueOperation(tx, { kind: "cluster-domains", subjectId: row?.id ?? "", tenantId: null, now });
  });
  return operationId;
}

/** Delivers what was sent while time passes, until the operation has ended. */
async function settle(w: World, operationId: string, each?: () => Promise<void>) {
  for (let round = 0; round < 60; round++) {
    await runOperation(w.ports, operationId);
    for (let next = w.sent.shift(); next !== undefined; next = w.sent.shift())
      await runOperation(w.ports, next.message.operationId);
    const { operation } = await operationOf(w, operationId);
    if (operation.state === "succeeded" || operation.state === "failed") return operation;
    await each?.();
    w.advance(20_000);
  }
  throw new Error(`it never ended: ${JSON.stringify(await operationOf(w, operationId))}`);
}

const seen = async (host: string) => (await lookup(host))?.tenantId ?? null;
const rowsOf = async (w: World, tenantId: string) =>
  (await w.db.select().from(hosts).where(eq(hosts.tenantId, tenantId))).map(({ host }) => host).toSorted();

test("every tenant is published under a new domain, and gone under one that was taken away (D12)", async () => {
  const w = world();
  const slugs = Array.from({ length: 25 }, (_, i) => `shop-${i}`);
  const { cluster, domain, ids, channel } = await makeTenants(w, slugs.slice(0, 5));
  const added = `new.${domain}`;
  const custom = `www.${cluster}.example`;
  await w.db.insert(hosts).values({ host: custom, tenantId: ids[0] ?? "", kind: "custom" });

  const adding = await change(w, cluster, [domain, added]);
  expect(await settle(w, adding)).toMatchObject({ state: "succeeded", reason: null });
  for (const [i, id] of ids.entries()) {
    expect(await seen(`shop-${i}.${domain}`)).toBe(id);
    expect(await seen(`shop-${i}.${added}`)).toBe(id);
  }
  expect((await channel.seen()).changes.at(-1)).toMatchObject({
    tenant: { hosts: expect.arrayContaining([expect.stringMatching(`.${added}$`)]) },
  });

  const removing = await change(w, cluster, [added]);
  expect(await settle(w, removing)).toMatchObject({ state: "succeeded" });
  for (const [i, id] of ids.entries()) {
    expect(await seen(`shop-${i}.${domain}`)).toBeNull();
    expect(await seen(`shop-${i}.${added}`)).toBe(id);
    expect(await rowsOf(w, id)).toEqual([`shop-${i}.${added}`, ...(i === 0 ? [custom] : [])].toSorted());
  }
  expect(await seen(custom)).toBe(ids[0]);
  // Told twice it changes nothing.
  const before = (await channel.seen()).changes.length;
  expect(await settle(w, await change(w, cluster, [added]))).toMatchObject({ state: "succeeded" });
  expect((await channel.seen()).changes).toHaveLength(before);
});

test("a tenant that could not follow is told of, the others follow; tried again it follows too", async () => {
  const w = world();
  const { cluster, domain, ids, channel } = await makeTenants(w, ["well", "ill"]);
  const added = `new.${domain}`;
  await channel.behave({ kind: "rejects", reason: "too many hosts" });
  const adding = await change(w, cluster, [domain, added]);
  const failed = await settle(w, adding);
  expect(failed).toMatchObject({
    state: "failed",
    reason: expect.stringMatching(/^the hosts of 2 tenants.*too many hosts/),
  });
  expect(await seen(`well.${domain}`)).toBe(ids[0]);

  await channel.behave({ kind: "live" });
  w.advance(1_000);
  const retried = await w.db.transaction((tx) => retryOperation(tx, adding, new Date(w.ports.clock())));
  expect(retried.ok).toBe(true);
  expect(await settle(w, adding)).toMatchObject({ state: "succeeded" });
  expect([await seen(`well.${added}`), await seen(`ill.${added}`)]).toEqual(ids);
});

test("one that is being deleted is left alone, one whose creation failed loses the old name and keeps the new one for its next try", async () => {
  const w = world();
  const { cluster, domain, ids } = await makeTenants(w, ["going", "broken"]);
  const [going = "", broken = ""] = ids;
  await w.db.update(tenants).set({ state: "deleting" }).where(eq(tenants.id, going));
  await w.db.update(tenants).set({ state: "failed" }).where(eq(tenants.id, broken));
  const added = `new.${domain}`;
  expect(await settle(w, await change(w, cluster, [added]))).toMatchObject({ state: "succeeded" });
  expect(await rowsOf(w, going)).toEqual([`going.${domain}`]);
  expect(await seen(`broken.${domain}`)).toBeNull();
  expect(await rowsOf(w, broken)).toContain(`broken.${added}`);
  expect((await tenantRow(w, broken))?.state).toBe("failed");
});
