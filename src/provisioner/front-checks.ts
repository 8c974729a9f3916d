import { and, asc, eq, inArray, isNull, lt, or, sql } from "drizzle-orm";
import { enqueueHostsChange } from "../db/hosts.ts";
import { openOperation } from "../db/operations.ts";
import { hosts, tenants } from "../db/schema.ts";
import type { HostRow } from "../db/tenants.ts";
import type { Result } from "../shared/result.ts";
import type { Front, FrontProblem } from "./host-front.ts";
import {
  FRONT_CHECKS,
  FRONT_POLL_FIRST_MS,
  FRONT_POLL_LATER_MS,
  FRONT_POLL_MS,
  FRONT_RECHECK_MS,
  HOST_LEAVING_MAX_MS,
  HOST_REPAIRS,
} from "./limits.ts";
import type { ProvisionerPorts } from "./ports.ts";

/** What is kept of an answer. After a failure the last known state stays, unless the provider refused. */
export function columnsOfFront(answer: Result<Front, FrontProblem>, now: Date): Partial<HostRow> {
  if (answer.ok) {
    const { id, state, reason, records } = answer.value;
    return {
      frontId: id,
      frontState: state,
      frontReason: reason,
      frontRecords: [...records],
      frontCheckedAt: now,
    };
  }
  const { kind, reason } = answer.error;
  return { frontReason: reason, frontCheckedAt: now, ...(kind === "refused" && { frontState: "failed" }) };
}

/** By cron: custom hosts that the provider is setting up, has lost, or was not told of yet. */
export async function checkDueFronts(ports: ProvisionerPorts): Promise<void> {
  const { front, db } = ports;
  if (front === null) return;
  const before = (ms: number) => new Date(ports.clock() - ms);
  const due = await db
    .select()
    .from(hosts)
    .where(
      and(
        eq(hosts.kind, "custom"),
        isNull(hosts.leavingSince),
        or(
          isNull(hosts.frontCheckedAt),
          lt(hosts.frontCheckedAt, before(FRONT_RECHECK_MS)),
          and(
            sql`${hosts.frontState} is distinct from 'active'`,
            lt(hosts.frontCheckedAt, before(FRONT_POLL_LATER_MS)),
          ),
          and(
            eq(hosts.frontState, "pending"),
            sql`${hosts.createdAt} > ${before(FRONT_POLL_FIRST_MS).toISOString()}`,
            lt(hosts.frontCheckedAt, before(FRONT_POLL_MS)),
          ),
        ),
      ),
    )
    .orderBy(sql`${hosts.frontCheckedAt} asc nulls first`, asc(hosts.host))
    .limit(FRONT_CHECKS);
  for (const { host, frontId } of due) {
    const answer = await front.ensure(host, frontId);
    // Of a row that is still current: a removal under way must not be undone in the row.
    await db
      .update(hosts)
      .set(columnsOfFront(answer, new Date(ports.clock())))
      .where(and(eq(hosts.host, host), isNull(hosts.leavingSince)));
    if (!answer.ok) ports.log.warn("the provider of the front did not do it", { host, reason: answer.error.reason });
    // What limits one request limits the next ones too.
    if (!answer.ok && answer.error.kind !== "refused") return;
  }
}

/** By cron: hosts that should be gone, but whose operation failed (the directory or the node was away for long), get a new one. */
export async function repairLeavingHosts(ports: ProvisionerPorts): Promise<void> {
  const now = new Date(ports.clock());
  const stuck = await ports.db
    .selectDistinct({ tenantId: hosts.tenantId })
    .from(hosts)
    .innerJoin(tenants, eq(tenants.id, hosts.tenantId))
    .where(
      and(
        eq(hosts.kind, "custom"),
        lt(hosts.leavingSince, new Date(now.getTime() - HOST_LEAVING_MAX_MS)),
        inArray(tenants.state, ["active", "suspended"]),
      ),
    )
    .limit(HOST_REPAIRS);
  for (const { tenantId } of stuck) {
    const enqueued = await ports.db.transaction(async (tx) => {
      await tx.select({ id: tenants.id }).from(tenants).where(eq(tenants.id, tenantId)).for("no key update");
      return (await openOperation(tx, tenantId)) === null ? await enqueueHostsChange(tx, tenantId, now) : null;
    });
    if (enqueued !== null) await ports.send({ kind: "operation", ...enqueued }, 0);
  }
}
