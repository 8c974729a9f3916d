import { eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { enqueueOperation, relaySubject } from "../db/operations.ts";
import { raiseRelaySettings, relaySettingsOf, type RelaySettingsRow } from "../db/relay-settings.ts";
import { relaySettings } from "../db/schema.ts";
import { lockTenant } from "../db/tenants.ts";
import { ok, type Result } from "../shared/result.ts";
import { etagOf } from "./endpoint.ts";
import type { IfMatch, Written } from "./endpoint.ts";
import { fail, notFound } from "./failure.ts";
import type { Failure } from "./failure.ts";
import { operationLocation, shownOperation } from "./operation-view.ts";
import { viewRelay } from "./relay-view.ts";

interface Applied {
  readonly set?: Partial<Pick<RelaySettingsRow, "settings" | "disabled" | "pairingUntil">>;
  /** For the audit event. */
  readonly details?: Record<string, unknown>;
  /** More of the answer. */
  readonly shown?: Record<string, unknown>;
}

/**
 * Changes a tenant's relay settings: under the lock of the tenant's row checks the version, writes what is wanted under a new revision, and
 * enqueues the operation that tells both lanes. Not held up by what else is under way for the tenant.
 */
export async function changeRelay(
  tx: Db,
  { params, now }: { params: { tenant: string }; now: Date },
  ifMatch: IfMatch,
  action: string,
  apply: (row: RelaySettingsRow) => Promise<Result<Applied, Failure>>,
): Promise<Result<Written, Failure>> {
  const found = await lockTenant(tx, params.tenant);
  if (found === null) return notFound("tenant", params.tenant);
  const { id: tenantId, state } = found.tenant;
  if (state === "deleting") return fail("conflict", "The tenant is being deleted.");
  const before = await relaySettingsOf(tx, tenantId);
  const matched = ifMatch(etagOf(before?.revision ?? 0));
  if (!matched.ok) return matched;
  const raised = await raiseRelaySettings(tx, tenantId, now);
  const applied = await apply(raised);
  if (!applied.ok) return applied;
  const { set = {}, details = {}, shown = {} } = applied.value;
  const row = { ...raised, ...set };
  await tx
    .update(relaySettings)
    .set({ ...set, updatedAt: now })
    .where(eq(relaySettings.tenantId, tenantId));
  const wanted = { kind: "relay-settings-publish", subjectId: relaySubject.of(tenantId), tenantId, now } as const;
  const operation = await enqueueOperation(tx, wanted);
  return ok({
    body: { operation: await shownOperation(tx, operation), relay: viewRelay(row, now), ...shown },
    headers: { location: operationLocation(operation), etag: etagOf(row.revision) },
    audit: { action, subjectId: tenantId, tenantId, details },
    operation,
  });
}
