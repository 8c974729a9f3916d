import type { Db } from "../db/client.ts";
import { isDedicated, placesTaken, takesTenants } from "../db/placement.ts";
import { nodes } from "../db/schema.ts";
import type { TenantRow } from "../db/tenants.ts";
import { ok } from "../shared/result.ts";
import type { Result } from "../shared/result.ts";
import { fail } from "./failure.ts";
import type { Failure } from "./failure.ts";

/**
 * Whether another node of the tenant's cluster (or the one asked for) has a place for it; the id of the one asked for, or null. The
 * provisioner's step choose-next-node decides for good; this only keeps a hopeless request from being accepted.
 */
export async function moveTarget(
  tx: Db,
  tenant: TenantRow,
  nodeName: string | undefined,
): Promise<Result<string | null, Failure>> {
  const active = await tx.select().from(nodes).where(takesTenants(tenant.clusterId));
  const wanted = active.find(({ name }) => name === nodeName);
  if (nodeName !== undefined && wanted === undefined)
    return fail("bad-request", `The tenant's cluster has no active node "${nodeName}".`);
  if (wanted !== undefined && wanted.id === tenant.nodeId)
    return fail("conflict", `The tenant is on node "${wanted.name}" already.`);
  const others = active.filter((node) => (wanted === undefined ? !isDedicated(node) : node === wanted));
  const free = await freePlaces(
    tx,
    others.filter(({ id }) => id !== tenant.nodeId),
  );
  if (free <= 0)
    return fail(
      "no-capacity",
      wanted === undefined
        ? "No other active node of the tenant's cluster has room for it."
        : `Node "${wanted.name}" is full: it takes ${wanted.capacity} tenants.`,
    );
  if (wanted !== undefined && wanted.enrolledAt === null && wanted.lastSeenAt === null)
    return fail("conflict", `Node "${wanted.name}" has never been enrolled. Enrol it first.`);
  return ok(wanted?.id ?? null);
}

/** Places that these nodes have left, together. */
export async function freePlaces(tx: Db, among: readonly (typeof nodes.$inferSelect)[]): Promise<number> {
  const taken = await placesTaken(
    tx,
    among.map(({ id }) => id),
  );
  return among.reduce((sum, { id, capacity }) => sum + Math.max(0, capacity - (taken.get(id) ?? 0)), 0);
}
