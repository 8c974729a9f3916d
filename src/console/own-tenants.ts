import { and, asc, desc, eq, inArray, isNull, sql } from "drizzle-orm";
import { recordAudit } from "../db/audit.ts";
import type { Db } from "../db/client.ts";
import { enqueueOperation, markSent, withSteps, type Enqueued } from "../db/operations.ts";
import { hosts, operations, routes, tenants } from "../db/schema.ts";
import { tenantById } from "../db/tenants.ts";
import { revokeSessions } from "../policy/revocation.ts";
import type {
  CreateOwnTenantInput,
  CreateOwnTenantResult,
  EndSessionsInput,
  TenantStatus,
} from "../protocol/tenants-rpc.ts";
import { failureOf, type Failure } from "./failure.ts";
import { createTenant } from "./new-tenant.ts";
import type { ConsolePorts } from "./ports.ts";

/** What people do with their own tenants at the portal (protocol/tenants-rpc.ts), as operations like those of the management API. */
type OwnTenantPorts = Pick<ConsolePorts, "db" | "send" | "clock" | "log">;

/** Carries a refusal out of a transaction, which rolls back. */
class Refused extends Error {
  override readonly name = "Refused";
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.code);
    this.failure = failure;
  }
}

export async function createOwnTenant(
  ports: OwnTenantPorts,
  { tenantId, slug, accountId, requestId }: CreateOwnTenantInput,
): Promise<CreateOwnTenantResult> {
  const now = new Date(ports.clock());
  if ((await tenantById(ports.db, tenantId)) !== null) return { kind: "created" };
  try {
    const operation = await ports.db.transaction(async (tx) => {
      const made = await createTenant(
        tx,
        {
          id: tenantId,
          slug,
          cluster: undefined,
          node: undefined,
          services: undefined,
          routes: [],
          multipleWorkspaces: false,
        },
        now,
      );
      if (!made.ok) throw new Refused(made.error);
      const details = { slug, cluster: made.value.cluster.name };
      const actor = `account:${accountId}`;
      await recordAudit(tx, { actor, requestId, action: "tenant.create", subjectId: tenantId, tenantId, details }, now);
      return made.value.operation;
    });
    await announce(ports, operation);
    return { kind: "created" };
  } catch (error) {
    // The same call, come twice at once.
    if ((await tenantById(ports.db, tenantId)) !== null) return { kind: "created" };
    const failure = error instanceof Refused ? error.failure : failureOf(error);
    if (failure?.code === "bad-request" || failure?.code === "conflict" || failure?.code === "no-capacity") {
      return { kind: "refused", code: failure.code, detail: failure.detail };
    }
    throw error;
  }
}

export async function showOwnTenants(db: Db, tenantIds: readonly string[]): Promise<TenantStatus[]> {
  if (tenantIds.length === 0) return [];
  const ids = [...tenantIds];
  const rows = await db.select({ id: tenants.id, state: tenants.state }).from(tenants).where(inArray(tenants.id, ids));
  const named = await db
    .select({ host: hosts.host, tenantId: hosts.tenantId })
    .from(hosts)
    .where(and(inArray(hosts.tenantId, ids), eq(hosts.kind, "primary"), isNull(hosts.leavingSince)))
    .orderBy(asc(hosts.createdAt), asc(hosts.host));
  const prefixes = await db
    .selectDistinctOn([routes.tenantId], { tenantId: routes.tenantId, prefix: routes.prefix })
    .from(routes)
    .where(inArray(routes.tenantId, ids))
    .orderBy(routes.tenantId, sql`length(${routes.prefix})`, routes.prefix);
  const creations = await db
    .selectDistinctOn([operations.subjectId])
    .from(operations)
    .where(and(inArray(operations.subjectId, ids), eq(operations.kind, "tenant-create")))
    .orderBy(operations.subjectId, desc(operations.seq));
  const withTheirs = await withSteps(db, creations);
  return rows.map(({ id, state }) => ({
    tenantId: id,
    state,
    host: named.find(({ tenantId }) => tenantId === id)?.host ?? null,
    startPath: prefixes.find(({ tenantId }) => tenantId === id)?.prefix ?? "/",
    steps:
      withTheirs
        .find(({ operation }) => operation.subjectId === id)
        ?.steps.map(({ name, state: stepState }) => ({ name, state: stepState })) ?? [],
  }));
}

export async function endSessionsOf(ports: OwnTenantPorts, input: EndSessionsInput): Promise<boolean> {
  const { tenantId, accountId, byAccountId, requestId, reason } = input;
  const now = new Date(ports.clock());
  const operation = await ports.db.transaction(async (tx) => {
    const [tenant] = await tx.select().from(tenants).where(eq(tenants.id, tenantId)).for("no key update");
    if (tenant === undefined) return null;
    const ended = revokeSessions(tenant, accountId, Math.floor(now.getTime() / 1_000));
    await tx
      .update(tenants)
      .set({ ...ended, revision: sql`nextval('control.revision')`, updatedAt: now })
      .where(eq(tenants.id, tenantId));
    const audit = { actor: `account:${byAccountId}`, requestId, action: "tenant.revoke-sessions", subjectId: tenantId };
    await recordAudit(tx, { ...audit, tenantId, details: { accountId, reason } }, now);
    return await enqueueOperation(tx, { kind: "tenant-revoke-sessions", subjectId: tenantId, tenantId, now });
  });
  if (operation === null) return false;
  await announce(ports, operation);
  return true;
}

/** Before the answer: who asks here waits for what is announced. */
async function announce(ports: OwnTenantPorts, { operationId, outboxId }: Enqueued): Promise<void> {
  try {
    await ports.send({ kind: "operation", operationId });
    await markSent(ports.db, outboxId, new Date(ports.clock()));
  } catch {
    ports.log.warn("queue not told, the sweep will", { operationId });
  }
}
