import { env } from "cloudflare:workers";
import { eq, sql } from "drizzle-orm";
import { inject } from "vitest";
import { connect, connectSql } from "../../../src/db/client.ts";
import type { Db, Sql } from "../../../src/db/client.ts";
import { cancelOpenOperations, enqueueOperation, withSteps } from "../../../src/db/operations.ts";
import { catalogue, clusters, nodes, operations, tenants } from "../../../src/db/schema.ts";
import { importSealingKey } from "../../../src/db/secrets.ts";
import { createTenant } from "../../../src/console/new-tenant.ts";
import { DIRECTORY_SHARD_NAMES, directoryShard } from "../../../src/policy/record.ts";
import type { DirectoryRecord, DirectoryRpc } from "../../../src/policy/record.ts";
import { jobWorkerName, type JobWorkerRpc } from "../../../src/protocol/jobs.ts";
import type { LaneRpc } from "../../../src/protocol/lane.ts";
import type { NodeChannelRpc, NodeTenant } from "../../../src/protocol/node-channel.ts";
import type { MembersRpc } from "../../../src/protocol/portal-rpc.ts";
import type { ProvisioningMessage } from "../../../src/protocol/queue-messages.ts";
import type { ProvisionerPorts } from "../../../src/provisioner/ports.ts";
import type { Env } from "../../../src/provisioner/worker.ts";
import { newId } from "../../../src/shared/ids.ts";
import { createLogger } from "../../../src/shared/log.ts";
import { err } from "../../../src/shared/result.ts";
import type * as Control from "./fixtures/control.ts";
import type * as Lanes from "./fixtures/lane.ts";

interface Objects<Rpc> {
  getByName(name: string): Rpc;
}
interface TestEnv {
  readonly DIRECTORY: Objects<DirectoryRpc & Pick<Control.Directory, "failNext">>;
  readonly NODE_CHANNEL: Objects<NodeChannelRpc & Pick<Control.NodeChannel, "behave" | "seen">>;
  readonly LANE_A: Objects<LaneRpc & Pick<Lanes.Lane, "told" | "settled">>;
  readonly LANE_B: Objects<LaneRpc & Pick<Lanes.Lane, "told" | "settled">>;
  readonly JOB_WORKER: Objects<JobWorkerRpc>;
  readonly PORTAL_MEMBERS: MembersRpc;
  readonly CONTROL_DB: { readonly connectionString: string };
  readonly CREDENTIAL_KEY: string;
}
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what vitest.config.ts and wrangler.toml bind
export const bindings = env as unknown as TestEnv;
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- likewise
export const workerEnv = env as unknown as Env;

export interface World {
  readonly db: Db;
  readonly admin: Sql;
  readonly ports: ProvisionerPorts;
  /** Messages that were sent, oldest first; take them out to deliver them. */
  readonly sent: { message: ProvisioningMessage; delaySeconds: number }[];
  readonly logs: string[];
  /** Moves the clock. */
  advance(ms: number): void;
}

/** The provisioner's core with its real database and objects; time and the queue are in the test's hand. */
export function world(): World {
  const { db } = connect(bindings.CONTROL_DB.connectionString);
  const { provisionerUrl, adminUrl } = inject("database");
  let offsetMs = 0;
  const sent: World["sent"] = [];
  const logs: string[] = [];
  let cluster: Sql | null = null;
  const ports: ProvisionerPorts = {
    db,
    clusterDatabase: (binding) => (binding === "CLUSTER_DB_DEFAULT" ? (cluster ??= connectSql(provisionerUrl)) : null),
    directory: (host) => bindings.DIRECTORY.getByName(directoryShard(host)),
    directoryShards: () => DIRECTORY_SHARD_NAMES.map((name) => bindings.DIRECTORY.getByName(name)),
    nodeChannel: (nodeId) => bindings.NODE_CHANNEL.getByName(nodeId),
    lanes: (tenantId) => [bindings.LANE_A.getByName(tenantId), bindings.LANE_B.getByName(tenantId)],
    jobWorker: (tenantId, worker) => bindings.JOB_WORKER.getByName(jobWorkerName(tenantId, worker)),
    members: bindings.PORTAL_MEMBERS,
    sealingKey: () => importSealingKey(bindings.CREDENTIAL_KEY),
    send: async (message, delaySeconds) => void sent.push({ message, delaySeconds }),
    dns: async () => err("the test has no resolver"),
    front: null,
    fetch: (url, init) => fetch(url, init),
    clock: () => Date.now() + offsetMs,
    random: () => 0.5,
    log: createLogger("provisioner", (line) => void logs.push(line)),
  };
  return { db, admin: connectSql(adminUrl, 2), ports, sent, logs, advance: (ms) => void (offsetMs += ms) };
}

let counter = 0;

let opened: { readonly console: Db; readonly admin: Db } | null = null;
/** One connection each for all tests of a file: a server takes a hundred. */
const databases = () =>
  (opened ??= {
    console: connect(inject("database").consoleUrl, 1).db,
    admin: connect(inject("database").adminUrl, 1).db,
  });
const consoleDb = (): Db => databases().console;

/** A cluster of its own, so that tests don't share nodes or names. */
export async function makeCluster(
  nodeCapacities: readonly number[] = [10],
): Promise<{ cluster: string; domain: string; nodeIds: string[] }> {
  const cluster = `c${newId("clu").slice(4, 12)}${(counter += 1)}`;
  const domain = `${cluster}.localhost`;
  const adminDb = databases().admin;
  const clusterId = newId("clu");
  const address = new URL(inject("database").adminUrl);
  address.username = "";
  address.password = "";
  await adminDb.insert(clusters).values({
    id: clusterId,
    name: cluster,
    baseDomains: [domain],
    databaseBinding: "CLUSTER_DB_DEFAULT",
    databaseAddress: address.href,
  });
  await adminDb.insert(catalogue).values(
    ["app", "connectors", "manager"].map((name) => ({
      clusterId,
      name,
      driver: { kind: "process" as const, command: "demo-service" },
      needsSchema: name === "app",
      routes: [{ prefix: `/${name}`, access: "public" as const }],
    })),
  );
  const nodeIds: string[] = [];
  for (const [index, capacity] of nodeCapacities.entries()) {
    const id = newId("nod");
    await adminDb.insert(nodes).values({
      id,
      clusterId,
      name: `${cluster}-n${index}`,
      envoyUrl: `http://127.0.0.1:${10_000 + index}`,
      capacity,
      online: true,
      enrolledAt: new Date(0),
    });
    nodeIds.push(id);
  }
  return { cluster, domain, nodeIds };
}

/** What POST /tenants writes. */
export async function requestTenant(
  cluster: string,
  slug: string,
  node?: string,
): Promise<{ tenantId: string; operationId: string; host: string }> {
  const created = await consoleDb().transaction((tx) =>
    createTenant(
      tx,
      { slug, cluster, node, services: undefined, routes: [], multipleWorkspaces: false },
      new Date(Date.now() - 1),
    ),
  );
  if (!created.ok) throw new Error(created.error.detail);
  const { tenant, hosts, operation } = created.value;
  return { tenantId: tenant.id, operationId: operation.operationId, host: hosts[0] ?? "" };
}

/** What DELETE /tenants/{tenant} writes. Answers the operation's id. */
export async function requestDeletion(tenantId: string): Promise<string> {
  const now = new Date(Date.now() - 1);
  return await consoleDb().transaction(async (tx) => {
    await cancelOpenOperations(tx, tenantId, "cancelled: tenant-delete was asked for", now);
    await tx
      .update(tenants)
      .set({ state: "deleting", revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, tenantId));
    const wanted = { kind: "tenant-delete", subjectId: tenantId, tenantId, now } as const;
    return (await enqueueOperation(tx, wanted)).operationId;
  });
}

export async function operationOf({ db }: World, id: string) {
  const [found] = await withSteps(db, await db.select().from(operations).where(eq(operations.id, id)));
  if (found === undefined) throw new Error(`no operation ${id}`);
  return found;
}

export async function tenantRow({ db }: World, id: string) {
  const [row] = await db.select().from(tenants).where(eq(tenants.id, id));
  return row;
}

export function databaseUrlOf(tenant: NodeTenant): string {
  const url = tenant.services.flatMap(({ secrets }) => secrets["DATABASE_URL"] ?? [])[0];
  if (url === undefined) throw new Error("no DATABASE_URL");
  return url;
}

export const lookup = (host: string): Promise<DirectoryRecord | null> =>
  bindings.DIRECTORY.getByName(directoryShard(host)).lookup(host);
