import { eq, sql } from "drizzle-orm";
import { expect } from "vitest";
import { cancelOperation } from "../../../src/db/cancel-operation.ts";
import { canBeUndone, whatItReplaces } from "../../../src/db/changes.ts";
import type { Db } from "../../../src/db/client.ts";
import { enqueueOperation } from "../../../src/db/operations.ts";
import type { OperationKind, StepName } from "../../../src/db/operations.ts";
import { nodes, routes, tenants } from "../../../src/db/schema.ts";
import type { OperationWork } from "../../../src/db/schema.ts";
import { newId } from "../../../src/shared/ids.ts";
import { LEASE_MS } from "../../../src/provisioner/limits.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import type { Arranged } from "./failure-injections.ts";
import type { NodeBehaviour } from "./fixtures/control.ts";
import { bindings, lookup, makeCluster, requestTenant } from "./support.ts";
import type { World } from "./support.ts";

/** A tenant at work, for the kinds that change one. */
export interface Subject {
  readonly tenantId: string;
  readonly host: string;
  readonly cluster: string;
  readonly domain: string;
  /** Where it is unless it is moved; other tenants are made there. */
  readonly nodeId: string;
  /** Gets nothing that is not moved there. */
  readonly otherNodeId: string;
  /** Sends visitors of open routes to the nodes. */
  readonly masterId: string;
}

/** `behave` by default: the subject's node's. */
export type Arrange = (
  w: World,
  subject: Subject,
  round: number,
) => Promise<Omit<Arranged, "behave"> & Partial<Pick<Arranged, "behave">>>;

export async function makeSubject(w: World): Promise<Subject> {
  const { cluster, domain, nodeIds } = await makeCluster([1_000, 1_000]);
  const [nodeId = "", otherNodeId = ""] = nodeIds;
  await w.db
    .update(nodes)
    .set({ labels: { dedicated: "true" } })
    .where(eq(nodes.id, otherNodeId));
  const masterId = newId("nod");
  await w.admin`update control.nodes set masters_address = name || '.internal:10443' where id in ${w.admin(nodeIds)}`;
  await w.admin`insert into control.nodes (id, cluster_id, name, role, envoy_url, capacity, online)
    select ${masterId}, cluster_id, ${`${cluster}-master`}, 'master', 'https://127.0.0.1:443', 0, true
    from control.nodes where id = ${nodeId}`;
  await w.admin`update control.service_catalogue set protocol = 'h2c'
    where name = 'app' and cluster_id = (select cluster_id from control.nodes where id = ${nodeId})`;
  const made = await requestTenant(cluster, "subject");
  await runOperation(w.ports, made.operationId);
  return { tenantId: made.tenantId, host: made.host, cluster, domain, nodeId, otherNodeId, masterId };
}

export const behave = (nodeId: string) => (behaviour: NodeBehaviour) =>
  bindings.NODE_CHANNEL.getByName(nodeId).behave(behaviour);

/** The node's newest word of a tenant: what it is to have, or null once it is to have nothing. */
export async function atNode(nodeId: string, tenantId: string) {
  const { changes } = await bindings.NODE_CHANNEL.getByName(nodeId).seen();
  const last = changes.findLast((one) => (one.kind === "put" ? one.tenant.tenantId : one.tenantId) === tenantId);
  return last?.kind === "put" ? last.tenant : null;
}

/** How much there is of a tenant, everywhere. */
export async function countsOf({ admin }: World, tenantId: string) {
  const [row] = await admin`select
    (select count(*)::int from control.tenants where id = ${tenantId}) as tenants,
    (select count(*)::int from control.workspaces where tenant_id = ${tenantId}) as workspaces,
    (select count(*)::int from control.services where tenant_id = ${tenantId}) as services,
    (select count(*)::int from control.routes where tenant_id = ${tenantId}) as routes,
    (select count(*)::int from control.hosts where tenant_id = ${tenantId}) as hosts,
    (select count(*)::int from control.credentials where tenant_id = ${tenantId}) as credentials,
    (select count(*)::int from pg_namespace where nspname = ${tenantId}) as schemas,
    (select count(*)::int from pg_roles where rolname like ${`${tenantId}%`}) as roles`;
  return { ...row };
}

export const ONE = {
  tenants: 1,
  workspaces: 1,
  services: 3,
  routes: 3,
  hosts: 1,
  credentials: 1,
  schemas: 1,
  roles: 1,
};
export const NONE = {
  tenants: 0,
  workspaces: 0,
  services: 0,
  routes: 0,
  hosts: 0,
  credentials: 0,
  schemas: 0,
  roles: 0,
};

/** The tenant's row, directory, its node and the master say the same, and no other node has it. Answers which node that is. */
export async function expectAgreement(
  w: World,
  {
    tenantId,
    host,
    nodeId: first,
    otherNodeId,
    masterId,
  }: Pick<Subject, "tenantId" | "host" | "nodeId" | "otherNodeId"> & Partial<Pick<Subject, "masterId">>,
): Promise<string> {
  const [tenant] = await w.db.select().from(tenants).where(eq(tenants.id, tenantId));
  const nodeId = tenant?.nodeId ?? "";
  expect(tenant).toMatchObject({ nextNodeId: null, leavingNodeId: null });
  expect(await atNode(nodeId === first ? otherNodeId : first, tenantId)).toBeNull();
  const record = await lookup(host);
  expect(record).toMatchObject({ tenantId, state: tenant?.state, node: { id: nodeId } });
  const prefixes = (await w.db.select().from(routes).where(eq(routes.tenantId, tenantId))).map(({ prefix }) => prefix);
  expect(record?.routes.map(({ prefix }) => prefix).toSorted()).toEqual(prefixes.toSorted());
  const node = await atNode(nodeId, tenantId);
  expect(node?.routes.map(({ prefix }) => prefix).toSorted()).toEqual(prefixes.toSorted());
  expect(await countsOf(w, tenantId)).toMatchObject({ tenants: 1, workspaces: 1, services: 3, schemas: 1 });
  if (masterId === undefined) return nodeId;
  const front = (await atNode(masterId, tenantId))?.front;
  if (tenant?.state !== "active") {
    expect(front).toBeUndefined();
    return nodeId;
  }
  const [row] = await w.db.select().from(nodes).where(eq(nodes.id, nodeId));
  expect(`${front?.node.at.host}:${front?.node.at.port}`).toBe(row?.mastersAddress);
  expect(front?.node.id).toBe(nodeId);
  expect(front?.routes.map((route) => route.prefix).toSorted()).toEqual(prefixes.toSorted());
  expect(front?.routes.filter(({ h2c }) => h2c === true)).toHaveLength(1);
  return nodeId;
}

/** Writes what is wanted with its operation, as the console does. */
export async function change(
  w: World,
  { tenantId }: Subject,
  kind: OperationKind,
  write: (tx: Db) => Promise<unknown>,
  { subjectId = tenantId, work }: { subjectId?: string; work?: OperationWork } = {},
): Promise<string> {
  const { operationId } = await w.db.transaction(async (tx) => {
    const before = canBeUndone(kind) ? await whatItReplaces(tx, tenantId) : undefined;
    await write(tx);
    await tx
      .update(tenants)
      .set({ revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, tenantId));
    return enqueueOperation(tx, { kind, subjectId, tenantId, now: new Date(0), work: work ?? before });
  });
  return operationId;
}

/** Cancels an operation whose run has died in the middle of a step. Answers the operation that takes it back. */
export async function cancelDead(w: World, operationId: string): Promise<string> {
  w.advance(LEASE_MS + 1);
  const cancelled = await w.db.transaction((tx) => cancelOperation(tx, operationId, new Date(w.ports.clock())));
  if (!cancelled.ok || cancelled.value.rollback === null) throw new Error("it was not taken back");
  return cancelled.value.rollback.operationId;
}

export const prefixesOf = async ({ db }: World, { tenantId }: Subject): Promise<string[]> =>
  (await db.select().from(routes).where(eq(routes.tenantId, tenantId))).map(({ prefix }) => prefix).toSorted();

/** What is done with steps of its own in different cases. */
export interface Case {
  readonly name: string;
  readonly steps: readonly StepName[];
  readonly arrange: Arrange;
}
