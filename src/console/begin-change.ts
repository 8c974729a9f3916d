import { eq, sql } from "drizzle-orm";
import { canBeUndone, whatItReplaces } from "../db/changes.ts";
import type { Db } from "../db/client.ts";
import { cancelOpenOperations, enqueueOperation, openOperation } from "../db/operations.ts";
import type { Enqueued, OperationKind, StepName } from "../db/operations.ts";
import { enqueueHostsChange } from "../db/hosts.ts";
import { tenants } from "../db/schema.ts";
import type { OperationWork } from "../db/schema.ts";
import { findTenant, lockTenant } from "../db/tenants.ts";
import type { TenantRow } from "../db/tenants.ts";
import { ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import { etagOf } from "./endpoint.ts";
import type { IfMatch, Written } from "./endpoint.ts";
import { fail, notFound } from "./failure.ts";
import type { Failure } from "./failure.ts";
import { operationLocation, shownOperation } from "./operation-view.ts";
import { showTenant } from "./routes/tenants.ts";

interface TenantChange {
  readonly kind: OperationKind;
  /** States in which a tenant may be changed like this. */
  readonly from: readonly TenantRow["state"][];
  /** `refuse`: not while another operation of the tenant is under way. `queue`: it comes after that one. `supersede`: that one is cancelled. */
  readonly whileBusy: "refuse" | "queue" | "supersede";
  /** Checks and writes what is particular to the change. */
  readonly apply: (tenant: TenantRow) => Promise<Result<Applied, Failure>>;
}

interface Applied {
  /** Of the tenant's row. */
  readonly set?: Partial<Pick<TenantRow, "state" | "accessRevision" | "notBefore" | "edgeRules" | "visitorPassword">>;
  /** Default: the plan of the operation's kind. */
  readonly steps?: readonly StepName[];
  /** What the tenant's row does not say. */
  readonly work?: OperationWork;
  /** For the audit event. */
  readonly details?: Record<string, unknown>;
  readonly furtherOperations?: readonly Enqueued[];
}

/**
 * Operations that nobody waits behind: a suspension must not be held up by a host that waits for its node. They bring the outside in line with
 * the tenant's rows whatever these are, so one that is cut short is made up for by another one afterwards.
 */
const YIELDING: readonly OperationKind[] = ["tenant-hosts"];

/** A change of the tenant's state alone. */
export const toState = (state: TenantRow["state"]) => async (): Promise<Result<Applied, Failure>> =>
  ok({ set: { state } });

/**
 * Begins a change of a tenant: under the lock of its row checks version, state and what else is under way, writes what is wanted under a new
 * revision, and enqueues the operation that makes it real.
 */
export async function beginChange(
  tx: Db,
  { params, now }: { params: { tenant: string }; now: Date },
  ifMatch: IfMatch,
  { kind, from, whileBusy, apply }: TenantChange,
): Promise<Result<Written, Failure>> {
  const kinds = whileBusy === "supersede" ? undefined : whileBusy === "refuse" ? YIELDING : [];
  const cancelled = await cancelOthers(tx, params.tenant, kind, kinds, now);
  const found = await lockTenant(tx, params.tenant);
  if (found === null) return notFound("tenant", params.tenant);
  const matched = ifMatch(etagOf(found.tenant.revision));
  if (!matched.ok) return matched;
  const { id, state } = found.tenant;
  if (!from.includes(state))
    return fail("conflict", `The tenant is ${state}; this needs it to be ${from.join(" or ")}.`);
  const open = whileBusy === "refuse" ? await openOperation(tx, id) : null;
  if (open !== null)
    return fail("conflict", `Operation ${open.id} (${open.kind}) of this tenant is under way. Wait for its end.`);
  const before = canBeUndone(kind) ? await whatItReplaces(tx, id) : undefined;
  const applied = await apply(found.tenant);
  if (!applied.ok) return applied;
  const { set, steps, work = before, details, furtherOperations = [] } = applied.value;
  const [tenant] = await tx
    .update(tenants)
    .set({ ...set, revision: sql`nextval('control.revision')`, updatedAt: now })
    .where(eq(tenants.id, id))
    .returning();
  if (tenant === undefined) return notFound("tenant", params.tenant);
  const operation = await enqueueOperation(tx, { kind, subjectId: id, tenantId: id, now, steps, work });
  if (whileBusy === "refuse" && cancelled.length > 0) await enqueueHostsChange(tx, id, now);
  return ok({
    body: {
      operation: await shownOperation(tx, operation),
      tenant: await showTenant(tx, { tenant, cluster: found.cluster }),
    },
    headers: { location: operationLocation(operation), etag: etagOf(tenant.revision) },
    audit: {
      action: kind.replace("-", "."),
      subjectId: id,
      tenantId: id,
      details: { slug: tenant.slug, ...(cancelled.length > 0 && { cancelled }), ...details },
    },
    operation,
    furtherOperations,
  });
}

/** Undone with the transaction if the change is refused afterwards. `kinds`: default all. */
async function cancelOthers(
  tx: Db,
  name: string,
  kind: OperationKind,
  kinds: readonly OperationKind[] | undefined,
  now: Date,
): Promise<string[]> {
  if (kinds?.length === 0) return [];
  const found = await findTenant(tx, name);
  if (found === null) return [];
  return await cancelOpenOperations(tx, found.tenant.id, `cancelled: ${kind} was asked for`, now, kinds);
}
