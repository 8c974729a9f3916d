import { eq, sql } from "drizzle-orm";
import { expect, test } from "vitest";
import { enqueueOperation, maintenanceSubject, type OperationKind } from "../../../src/db/operations.ts";
import { hosts, maintenanceNotices, nodes, routes, tenants } from "../../../src/db/schema.ts";
import type { NodeChange } from "../../../src/protocol/node-channel.ts";
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
import { newId } from "../../../src/shared/ids.ts";

// Real database and directory; the channels stand for a node and a master.
async function platform(w: World, options: { readonly nodes?: number; readonly withMaster?: boolean } = {}) {
  const made = await makeCluster(Array.from({ length: options.nodes ?? 1 }, () => 10));
  for (const id of made.nodeIds)
    await w.admin`update control.nodes set masters_address = ${`${id.slice(4, 12)}.internal:10443`} where id = ${id}`;
  const masterId = newId("nod");
  const channel = bindings.NODE_CHANNEL.getByName(masterId);
  const addMaster = async (): Promise<void> => {
    await w.admin`insert into control.nodes (id, cluster_id, name, role, envoy_url, capacity, online)
      select ${masterId}, cluster_id, ${`${made.cluster}-master`}, 'master', 'https://127.0.0.1:443', 0, true
      from control.nodes where id = ${made.nodeIds[0] ?? ""}`;
  };
  if (options.withMaster !== false) await addMaster();
  return { ...made, masterId, channel, addMaster };
}
type Platform = Awaited<ReturnType<typeof platform>>;

async function activeTenant(w: World, { cluster }: Platform, slug: string) {
  const made = await requestTenant(cluster, slug);
  await runOperation(w.ports, made.operationId);
  expect((await operationOf(w, made.operationId)).operation.state).toBe("succeeded");
  return made;
}

/** What the master was told last of the tenant. */
async function told({ channel }: Platform, tenantId: string): Promise<NodeChange | undefined> {
  const { changes } = await channel.seen();
  return changes.findLast((change) => (change.kind === "put" ? change.tenant.tenantId : change.tenantId) === tenantId);
}
const frontAt = async (at: Platform, tenantId: string) => {
  const change = await told(at, tenantId);
  return change?.kind === "put" ? change.tenant.front : change?.kind;
};

async function change(w: World, kind: OperationKind, subjectId: string, tenantId: string | null = null) {
  const { operationId } = await w.db.transaction((tx) =>
    enqueueOperation(tx, { kind, subjectId, tenantId, now: new Date(0) }),
  );
  await runOperation(w.ports, operationId);
  const { operation } = await operationOf(w, operationId);
  return { operationId, operation };
}

test("a master is told of open routes and where they lead, and of nothing else (no service, no secret)", async () => {
  const w = world();
  const at = await platform(w);
  const { tenantId, host } = await activeTenant(w, at, "open");
  const revision = (await tenantRow(w, tenantId))?.revision;
  const [nodeId = ""] = at.nodeIds;
  expect(await told(at, tenantId)).toEqual({
    kind: "put",
    tenant: {
      tenantId,
      slug: "open",
      revision,
      hosts: [host],
      routes: [],
      services: [],
      front: {
        node: { id: nodeId, at: { host: `${nodeId.slice(4, 12)}.internal`, port: 10_443 } },
        routes: ["/app", "/connectors", "/manager"].map((prefix) => ({ prefix, to: "node" })),
        mqtt: false,
      },
    },
  });
  await w.admin`update control.services set protocol = 'h2c' where tenant_id = ${tenantId} and name = 'app'`;
  await change(w, "tenant-routes", tenantId, tenantId);
  expect(await frontAt(at, tenantId)).toMatchObject({ routes: [{ prefix: "/app", h2c: true }, {}, {}] });
  // The node knows by itself what is open.
  const node = (await bindings.NODE_CHANNEL.getByName(nodeId).seen()).changes.at(-1);
  expect(node?.kind === "put" && node.tenant.routes.map((route) => route.open)).toEqual([true, true, true]);
});

test("a route that is closed, rules for all, suspension and deletion take it off the masters", async () => {
  const w = world();
  const at = await platform(w);
  const { tenantId, host } = await activeTenant(w, at, "closing");
  const set = (columns: Partial<typeof tenants.$inferInsert>) =>
    w.db.update(tenants).set(columns).where(eq(tenants.id, tenantId));

  await w.db.update(routes).set({ access: "member" }).where(eq(routes.tenantId, tenantId));
  await w.db
    .insert(routes)
    .values({ tenantId, prefix: "/", access: "public", kind: "service", destination: "app", options: {} });
  await change(w, "tenant-routes", tenantId, tenantId);
  expect(await frontAt(at, tenantId)).toMatchObject({
    routes: [
      { prefix: "/", to: "node" },
      { prefix: "/app", to: "edge" },
      { prefix: "/connectors", to: "edge" },
      { prefix: "/manager", to: "edge" },
    ],
  });
  await set({ edgeRules: { limits: { requestsPerSecond: 5 } } });
  await change(w, "tenant-policy", tenantId, tenantId);
  expect(await frontAt(at, tenantId)).toBe("remove");
  await set({ edgeRules: {} });
  await change(w, "tenant-policy", tenantId, tenantId);
  expect(await frontAt(at, tenantId)).toMatchObject({ mqtt: false });

  await set({ state: "suspended" });
  await change(w, "tenant-suspend", tenantId, tenantId);
  expect([(await lookup(host))?.state, await frontAt(at, tenantId)]).toEqual(["suspended", "remove"]);
  await set({ state: "active" });
  await change(w, "tenant-resume", tenantId, tenantId);
  expect(await frontAt(at, tenantId)).toMatchObject({ mqtt: false });

  await runOperation(w.ports, await requestDeletion(tenantId));
  expect(await frontAt(at, tenantId)).toBe("remove");
});

test("a host on its way out is gone from the masters before it is anybody else's", async () => {
  const w = world();
  const at = await platform(w);
  const { tenantId, host } = await activeTenant(w, at, "leaving");
  const second = `${at.cluster}.example`;
  await w.db.insert(hosts).values({ host: second, tenantId, kind: "custom" });
  await change(w, "tenant-hosts", tenantId, tenantId);
  expect(await told(at, tenantId)).toMatchObject({ tenant: { hosts: [second, host].toSorted() } });
  await w.db
    .update(hosts)
    .set({ leavingSince: new Date(0) })
    .where(eq(hosts.host, second));
  await change(w, "host-withdraw", second, tenantId);
  expect(await told(at, tenantId)).toMatchObject({ tenant: { hosts: [host] } });
});

test("while a node has no address for masters its tenants are the edge's; with one they are told anew", async () => {
  const w = world();
  const at = await platform(w);
  const [nodeId = ""] = at.nodeIds;
  const setAddress = (address: string | null) =>
    w.admin`update control.nodes set masters_address = ${address} where id = ${nodeId}`;
  await setAddress(null);
  const { tenantId } = await activeTenant(w, at, "addressed");
  expect(await frontAt(at, tenantId)).toBe("remove");
  await setAddress("n1.example.com:443");
  await change(w, "node-publish", nodeId);
  expect(await frontAt(at, tenantId)).toMatchObject({ node: { at: { host: "n1.example.com", port: 443 } } });
});

test("a new master is told of all active tenants; it never gets one itself", async () => {
  const w = world();
  const at = await platform(w, { withMaster: false });
  const first = await activeTenant(w, at, "one");
  const second = await activeTenant(w, at, "two");
  await at.addMaster();
  expect((await change(w, "node-publish", at.masterId)).operation.state).toBe("succeeded");
  expect((await at.channel.seen()).grants).toHaveLength(1);
  for (const { tenantId } of [first, second]) expect(await frontAt(at, tenantId)).toMatchObject({ mqtt: false });
  await w.db
    .update(nodes)
    .set({ online: false })
    .where(eq(nodes.id, at.nodeIds[0] ?? ""));
  const third = await activeTenant(w, at, "three");
  expect((await tenantRow(w, third.tenantId))?.nodeId).toBe(at.nodeIds[0]);
});

test("maintenance of the cluster sends everything to the edge, and its end brings it back", async () => {
  const w = world();
  const at = await platform(w);
  const { tenantId } = await activeTenant(w, at, "closed");
  const notice = async (maintenance: { message: string; retryAfterSeconds: number; allow: string[] } | null) => {
    await w.admin`insert into control.maintenance_notices (scope, maintenance, revision)
      values (${at.cluster}, ${maintenance === null ? null : w.admin.json(maintenance)}, nextval('control.revision'))
      on conflict (scope) do update set maintenance = excluded.maintenance, revision = excluded.revision`;
    await change(w, "maintenance-publish", maintenanceSubject.of(at.cluster));
  };
  await notice({ message: "Back soon.", retryAfterSeconds: 60, allow: [] });
  expect(await w.db.select().from(maintenanceNotices).where(eq(maintenanceNotices.scope, at.cluster))).toHaveLength(1);
  expect(await frontAt(at, tenantId)).toBe("remove");
  await notice(null);
  expect(await frontAt(at, tenantId)).toMatchObject({ mqtt: false });
});

test("a master that is offline holds nothing up; one whose channel breaks is told again", async () => {
  const w = world();
  const at = await platform(w);
  await at.channel.behave({ kind: "silent", online: false, enrolled: true });
  const { tenantId } = await activeTenant(w, at, "patient");
  const revision = (await tenantRow(w, tenantId))?.revision ?? 0;
  expect(await told(at, tenantId)).toMatchObject({ tenant: { revision } });
  // Told twice it is as told once.
  await w.db
    .update(tenants)
    .set({ revision: sql`nextval('control.revision')` })
    .where(eq(tenants.id, tenantId));
  const { operation } = await change(w, "tenant-policy", tenantId, tenantId);
  expect(operation.state).toBe("succeeded");
});
