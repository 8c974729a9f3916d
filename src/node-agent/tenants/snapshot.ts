import type { NodeTenant } from "../../protocol/node-channel.ts";
import type { Logger } from "../../shared/log.ts";
import { isMassRemoval, type HeldRemovals } from "../removal-breaker.ts";
import type { TenantRecord } from "../store.ts";

/** Removes what a complete snapshot does not name, or holds it, if it may, when that is too much to be true. */
export async function removeUnnamed(
  specs: readonly NodeTenant[],
  records: readonly TenantRecord[],
  held: HeldRemovals,
  remove: (tenantId: string, revision: number) => Promise<void>,
  mayHold: boolean,
  log: Logger,
): Promise<void> {
  const named = new Set(specs.map(({ tenantId }) => tenantId));
  const present = records.filter(({ want }) => want !== null);
  const missing = present.filter(({ tenantId }) => !named.has(tenantId));
  const isHeld = mayHold && isMassRemoval(present.length, missing.length);
  if (isHeld)
    log.error("a snapshot leaves out too many tenants to be believed: they stay until somebody confirms", {
      present: present.length,
      missing: missing.length,
      confirm: "causeway node removals --confirm",
    });
  await held.replace(
    isHeld ? missing.map(({ tenantId, want, revision }) => ({ tenantId, slug: want?.slug ?? "", revision })) : [],
  );
  if (!isHeld) for (const { tenantId, revision } of missing) await remove(tenantId, revision);
}
