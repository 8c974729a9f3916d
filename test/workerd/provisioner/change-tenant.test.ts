import { eq, sql } from "drizzle-orm";
import { expect, test } from "vitest";
import { enqueueOperation } from "../../../src/db/operations.ts";
import type { OperationKind } from "../../../src/db/operations.ts";
import { publishedSettingsOf, raiseRelaySettings } from "../../../src/db/relay-settings.ts";
import { connectors, hosts, routes, services, tenants } from "../../../src/db/schema.ts";
import type { TenantRow } from "../../../src/db/tenants.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { bindings, lookup, makeCluster, operationOf, requestTenant, tenantRow, world } from "./support.ts";
import type { World } from "./support.ts";
import { directoryShard } from "../../../src/policy/record.ts";

/** What the console writes when it begins a change. */
async function begin(
  w: World,
  tenantId: string,
  kind: OperationKind,
  set: Partial<Pick<TenantRow, "state" | "accessRevision" | "notBefore">>,
): Promise<string> {
  const { operationId } = await w.db.transaction(async (tx) => {
    await tx
      .update(tenants)
      .set({ ...set, revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, tenantId));
    return enqueueOperation(tx, { kind, subjectId: tenantId, tenantId, now: new Date(0) });
  });
  return operationId;
}

async function activeTenant(w: World, slug: string) {
  const { cluster, domain, nodeIds } = await makeCluster();
  const made = await requestTenant(cluster, slug);
  await runOperation(w.ports, made.operationId);
  return { ...made, domain, channel: bindings.NODE_CHANNEL.getByName(nodeIds[0] ?? "") };
}

const statusesOf = async (w: World, tenantId: string): Promise<string[]> => {
  const rows = await w.db
    .selectDistinct({ status: services.status })
    .from(services)
    .where(eq(services.tenantId, tenantId));
  return rows.map(({ status }) => status);
};

test("suspension reaches all hosts of the tenant at once, ends what runs for it at the node, and so does its end (E13)", async () => {
  const w = world();
  const { tenantId, host, domain, channel } = await activeTenant(w, "cycle");
  const second = `shop.${domain}.example`;
  await w.db.insert(hosts).values({ host: second, tenantId, kind: "custom" });
  const stopped = async () => {
    const change = (await channel.seen()).changes.at(-1);
    return change?.kind === "put" ? new Set(change.tenant.services.map((service) => service.stopped)) : null;
  };
  expect(await stopped()).toEqual(new Set([undefined]));

  const suspend = await begin(w, tenantId, "tenant-suspend", { state: "suspended" });
  await Promise.all([1, 2, 3].map(() => runOperation(w.ports, suspend)));
  expect((await operationOf(w, suspend)).operation.state).toBe("succeeded");
  for (const name of [host, second]) expect((await lookup(name))?.state).toBe("suspended");
  expect([await stopped(), await statusesOf(w, tenantId)]).toEqual([new Set([true]), ["EXITED"]]);

  const resume = await begin(w, tenantId, "tenant-resume", { state: "active" });
  await runOperation(w.ports, resume);
  for (const name of [host, second]) expect((await lookup(name))?.state).toBe("active");
  expect([await stopped(), await statusesOf(w, tenantId)]).toEqual([new Set([undefined]), ["RUNNING"]]);
  // Nothing was ever open at its lanes: they are left asleep.
  expect(await bindings.LANE_A.getByName(tenantId).settled()).toEqual([]);
});

test("visitors come back only once the services run again; a node that is offline holds nothing up", async () => {
  const w = world();
  const { tenantId, host, channel } = await activeTenant(w, "patient");
  await channel.behave({ kind: "silent", online: false, enrolled: true });
  const suspend = await begin(w, tenantId, "tenant-suspend", { state: "suspended" });
  await runOperation(w.ports, suspend);
  expect((await operationOf(w, suspend)).operation.state).toBe("succeeded");

  await channel.behave({ kind: "silent", online: true, enrolled: true });
  const resume = await begin(w, tenantId, "tenant-resume", { state: "active" });
  await runOperation(w.ports, resume);
  expect((await operationOf(w, resume)).operation.state).toBe("pending");
  expect((await lookup(host))?.state).toBe("suspended");
  await channel.behave({ kind: "live" });
  w.advance(2_000);
  await runOperation(w.ports, resume);
  expect((await lookup(host))?.state).toBe("active");
});

test("both lanes of a tenant with connectors learn of its suspension, whatever its relay's settings say", async () => {
  const w = world();
  const { tenantId } = await activeTenant(w, "wired");
  await w.db.insert(connectors).values({ id: `con_${tenantId.slice(4)}`, tenantId, name: "plant" });
  const told = async () => {
    const lanes = [bindings.LANE_A.getByName(tenantId), bindings.LANE_B.getByName(tenantId)];
    const last = await Promise.all(lanes.map(async (lane) => (await lane.settled()).at(-1)));
    return last.map((settings) => settings?.suspended);
  };
  await runOperation(w.ports, await begin(w, tenantId, "tenant-suspend", { state: "suspended" }));
  expect(await told()).toEqual([true, true]);
  await w.db.transaction((tx) => raiseRelaySettings(tx, tenantId, new Date()));
  expect(await w.db.transaction((tx) => publishedSettingsOf(tx, tenantId))).toMatchObject({ suspended: true });
  await runOperation(w.ports, await begin(w, tenantId, "tenant-resume", { state: "active" }));
  expect(await told()).toEqual([false, false]);
});

test("a suspension that the directory could not take is tried again, and a slow one never undoes its end", async () => {
  const w = world();
  const { tenantId, host } = await activeTenant(w, "stubborn");
  await bindings.DIRECTORY.getByName(directoryShard(host)).failNext(1);
  const suspend = await begin(w, tenantId, "tenant-suspend", { state: "suspended" });
  await runOperation(w.ports, suspend);
  expect((await lookup(host))?.state).toBe("active");
  w.advance(5_000);
  await runOperation(w.ports, suspend);
  const suspended = await lookup(host);
  expect(suspended?.state).toBe("suspended");
  await runOperation(w.ports, await begin(w, tenantId, "tenant-resume", { state: "active" }));
  if (suspended === null) throw new Error("no record");
  expect((await bindings.DIRECTORY.getByName(directoryShard(host)).publish(suspended)).applied).toBe(false);
  expect((await lookup(host))?.state).toBe("active");
  expect((await tenantRow(w, tenantId))?.state).toBe("active");
});

test("new routes work at the node before visitors are sent there; a node that refuses them leaves all as it was", async () => {
  const w = world();
  const { tenantId, host, channel } = await activeTenant(w, "rewired");
  const add = (prefix: string) =>
    w.db.insert(routes).values({ tenantId, prefix, access: "public", kind: "service", destination: "app" });

  await add("/more");
  await channel.behave({ kind: "silent", online: false, enrolled: true });
  const first = await begin(w, tenantId, "tenant-routes", {});
  await runOperation(w.ports, first);
  expect((await operationOf(w, first)).operation).toMatchObject({ state: "pending", reason: "the node is offline" });
  const prefixes = async () => (await lookup(host))?.routes.map(({ prefix }) => prefix);
  expect(await prefixes()).toEqual(["/app", "/connectors", "/manager"]);
  await channel.behave({ kind: "live" });
  w.advance(2_000);
  await runOperation(w.ports, first);
  expect(await prefixes()).toEqual(["/app", "/connectors", "/manager", "/more"]);
  expect((await channel.seen()).changes.at(-1)).toMatchObject({
    tenant: { routes: expect.arrayContaining([expect.objectContaining({ prefix: "/more", service: "app" })]) },
  });

  await add("/refused");
  await channel.behave({ kind: "rejects", reason: "too many routes" });
  const second = await begin(w, tenantId, "tenant-routes", {});
  await runOperation(w.ports, second);
  expect((await operationOf(w, second)).operation).toMatchObject({
    state: "failed",
    reason: expect.stringContaining("too many routes"),
  });
  expect(await prefixes()).toEqual(["/app", "/connectors", "/manager", "/more"]);
  expect((await tenantRow(w, tenantId))?.state).toBe("active");
});

test("ended sessions are published with every record of the tenant, as long as they matter", async () => {
  const w = world();
  const { tenantId, host } = await activeTenant(w, "bouncer");
  const nowSeconds = Math.floor(w.ports.clock() / 1_000);
  const notBefore = { ann: nowSeconds, old: nowSeconds - 13 * 3_600 };
  await runOperation(w.ports, await begin(w, tenantId, "tenant-revoke-sessions", { accessRevision: 4, notBefore }));
  expect(await lookup(host)).toMatchObject({ state: "active", accessRevision: 4 });
  expect((await lookup(host))?.notBefore).toEqual({ ann: nowSeconds });
  await runOperation(w.ports, await begin(w, tenantId, "tenant-suspend", { state: "suspended" }));
  expect((await lookup(host))?.notBefore).toEqual({ ann: nowSeconds });
  w.advance(13 * 3_600_000);
  await runOperation(w.ports, await begin(w, tenantId, "tenant-resume", { state: "active" }));
  expect(await lookup(host)).toMatchObject({ state: "active", accessRevision: 4, notBefore: {} });
});
