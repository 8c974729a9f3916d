import { eq, sql } from "drizzle-orm";
import { allHostsOf } from "../../db/hosts.ts";
import { cancelledRunMayLive } from "../../db/operations.ts";
import { tenants } from "../../db/schema.ts";
import { dropTenantSchema } from "../../db/tenant-database.ts";
import { tenantById } from "../../db/tenants.ts";
import { frontRemovalOf, tellMasters } from "../masters.ts";
import { stillThere } from "../remove-from-node.ts";
import { DONE, tenantOf } from "../step.ts";
import type { Step } from "../step.ts";

/** No visitor finds the tenant any more: its hosts are unknown again. */
export const withdrawHost: Step = async ({ ports, operation, commit }) => {
  const { hosts, revision, front } = await commit(async (tx) => {
    const [tenant] = await tx
      .update(tenants)
      .set({ revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, operation.subjectId))
      .returning();
    const front = tenant === undefined ? null : await frontRemovalOf(tx, tenant);
    return { hosts: await allHostsOf(tx, operation.subjectId), revision: tenant?.revision ?? 0, front };
  });
  for (const { host } of hosts) await ports.directory(host).withdraw(host, operation.subjectId, revision);
  await tellMasters(ports, front);
  return DONE;
};

/**
 * Its node has dropped routes and services, and so has every other that had it while it moved. A tenant that never got a node has none to tell;
 * a node that is offline is not waited for: its channel keeps the removal, and no visitor is sent there any more.
 */
export const removeFromNode: Step = async ({ ports, operation }) => {
  const { tenant } = await tenantOf(ports.db, operation);
  const had = new Set([tenant.nodeId, tenant.nextNodeId, tenant.leavingNodeId].filter((nodeId) => nodeId !== null));
  const left = await Promise.all([...had].map((nodeId) => stillThere(ports, nodeId, tenant)));
  return left.includes(true) ? { kind: "wait", reason: "the node has not reported the tenant removed yet" } : DONE;
};

/** Nobody is a member any more: the portal shows the tenant to nobody and gives nobody a session for it. People keep their accounts. */
export const removeMembers: Step = async ({ ports, operation }) => {
  await ports.members.removeTenant(operation.subjectId);
  return DONE;
};

/** The tenant's data. Nothing serves it any more. */
export const dropSchema: Step = async ({ ports, operation }) => {
  const { tenant, cluster } = await tenantOf(ports.db, operation);
  const database = ports.clusterDatabase(cluster.databaseBinding);
  if (database === null)
    return { kind: "give-up", reason: `the provisioner has no binding ${cluster.databaseBinding} for this cluster` };
  // A cancelled creation may be making the schema at this moment.
  if (await cancelledRunMayLive(ports.db, tenant.id, new Date(ports.clock())))
    return { kind: "wait", reason: "a cancelled operation may still be at work on the schema" };
  await dropTenantSchema(database, tenant.id);
  return DONE;
};

/** The last trace in the control data but operations and audit events. Its slug and hosts are free again. */
export const forget: Step = async ({ ports, operation, commit }) => {
  if ((await tenantById(ports.db, operation.subjectId)) === null) return DONE;
  await commit((tx) => tx.delete(tenants).where(eq(tenants.id, operation.subjectId)));
  return DONE;
};
