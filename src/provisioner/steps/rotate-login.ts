import { and, eq, sql } from "drizzle-orm";
import type { Sql } from "../../db/client.ts";
import { cancelledRunMayLive } from "../../db/operations.ts";
import { credentials, operationSteps, tenants } from "../../db/schema.ts";
import { ensureTenantLogin, loginSessions, retireTenantLogin } from "../../db/tenant-database.ts";
import { nextLogin, readLogin } from "../database-login.ts";
import { LOGIN_GRACE_MS } from "../limits.ts";
import { DONE, tenantOf } from "../step.ts";
import type { Step, StepContext } from "../step.ts";

/**
 * A tenant's services get another login of its database. PostgreSQL has one password a role, so it is another role each time: both work until
 * the services have the new one. A rotation that did not get to its end is carried on by the next one.
 */
const ofKind = (tenantId: string, kind: (typeof credentials.$inferSelect)["kind"]) =>
  and(eq(credentials.tenantId, tenantId), eq(credentials.kind, kind));

async function databaseOf({ ports, operation }: StepContext): Promise<Sql> {
  const { cluster } = await tenantOf(ports.db, operation);
  const database = ports.clusterDatabase(cluster.databaseBinding);
  if (database === null) throw new Error(`the provisioner has no binding ${cluster.databaseBinding} for this cluster`);
  return database;
}

/** The new login works. Nobody has it yet. */
export const newLogin: Step = async (context) => {
  const { ports, operation, commit } = context;
  const tenantId = operation.subjectId;
  const key = await ports.sealingKey();
  const login = await commit(async (tx) =>
    (await readLogin(tx, key, tenantId, "database-old")) === null ? nextLogin(tx, key, tenantId) : null,
  );
  if (login !== null) await ensureTenantLogin(await databaseOf(context), tenantId, login.role, login.password);
  return DONE;
};

/** Whatever the node is told from now on has the new login. */
export const switchLogin: Step = async ({ operation, commit }) => {
  const tenantId = operation.subjectId;
  await commit(async (tx) => {
    const [next] = await tx.select().from(credentials).where(ofKind(tenantId, "database-next"));
    if (next === undefined) return;
    await tx.update(credentials).set({ kind: "database-old" }).where(ofKind(tenantId, "database"));
    await tx.update(credentials).set({ kind: "database" }).where(ofKind(tenantId, "database-next"));
    await tx
      .update(tenants)
      .set({ revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, tenantId));
  });
  return DONE;
};

/** The login that was to come, of a rotation that was cancelled before anybody was told of it, is gone. */
export const dropNextLogin: Step = async (context) => {
  const { ports, operation, commit } = context;
  const tenantId = operation.subjectId;
  // Its run may be making the role at this moment.
  if (await cancelledRunMayLive(ports.db, tenantId, new Date(ports.clock())))
    return { kind: "wait", reason: "the cancelled operation may still be at work on the login" };
  const key = await ports.sealingKey();
  const next = await commit((tx) => readLogin(tx, key, tenantId, "database-next"));
  if (next === null) return DONE;
  await retireTenantLogin(await databaseOf(context), tenantId, next.role);
  await commit((tx) => tx.delete(credentials).where(ofKind(tenantId, "database-next")));
  return DONE;
};

/** The old login ends when nobody uses it any more, at the latest after a grace for services that were replaced. */
export const retireLogin: Step = async (context) => {
  const { ports, operation, commit } = context;
  const tenantId = operation.subjectId;
  const key = await ports.sealingKey();
  const old = await commit((tx) => readLogin(tx, key, tenantId, "database-old"));
  if (old === null) return DONE;
  const database = await databaseOf(context);
  const sessions = await loginSessions(database, old.role);
  if (sessions > 0 && (await waitedMs(context)) < LOGIN_GRACE_MS)
    return { kind: "wait", reason: `${sessions} sessions still use the old login` };
  await retireTenantLogin(database, tenantId, old.role);
  await commit((tx) => tx.delete(credentials).where(ofKind(tenantId, "database-old")));
  return DONE;
};

async function waitedMs({ ports, operation }: StepContext): Promise<number> {
  const [step] = await ports.db
    .select({ startedAt: operationSteps.startedAt })
    .from(operationSteps)
    .where(and(eq(operationSteps.operationId, operation.id), eq(operationSteps.name, "retire-login")));
  return ports.clock() - (step?.startedAt?.getTime() ?? ports.clock());
}
