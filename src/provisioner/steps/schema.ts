import { databaseLogin } from "../database-login.ts";
import { dropTenantSchema, ensureTenantSchema } from "../../db/tenant-database.ts";
import { tenantById } from "../../db/tenants.ts";
import { DONE, tenantOf } from "../step.ts";
import type { Step } from "../step.ts";

/** The tenant's schema and role in its cluster's database, at the current migration level. */
export const schema: Step = async ({ ports, operation, commit }) => {
  const { tenant, cluster } = await tenantOf(ports.db, operation);
  const sql = ports.clusterDatabase(cluster.databaseBinding);
  if (sql === null)
    return { kind: "give-up", reason: `the provisioner has no binding ${cluster.databaseBinding} for this cluster` };
  // Stored before the role has it: a run that dies in between finds it again.
  const key = await ports.sealingKey();
  const { password } = await commit((tx) => databaseLogin(tx, key, tenant.id));
  await ensureTenantSchema(sql, { tenantId: tenant.id, label: `${tenant.slug}@${cluster.name}`, password });
  // A deletion that began meanwhile may be past the point where it drops the schema.
  const left = await tenantById(ports.db, tenant.id);
  if (left === null || left.tenant.state === "deleting") await dropTenantSchema(sql, tenant.id);
  return DONE;
};
