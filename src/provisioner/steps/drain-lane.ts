import { and, asc, eq, gt, isNull } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { connectors, operations } from "../../db/schema.ts";
import type { LaneDrainCount, LaneDrainWork } from "../../db/schema.ts";
import type { LaneDrain } from "../../protocol/lane.ts";
import {
  DRAIN_ATTEMPT_MS,
  DRAIN_BATCH,
  DRAIN_HOLD_MS,
  DRAIN_PEER_WAIT_MS,
  DRAIN_ROUND_MS,
  DRAIN_SLACK_MS,
} from "../limits.ts";
import type { StepOutcome } from "../machine.ts";
import type { ProvisionerPorts } from "../ports.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

const NOTHING: LaneDrainCount = { tenants: 0, busy: 0, sockets: 0, inFlight: 0 };

/**
 * Empties one side of the relay, so that it can be redeployed without a failed request (T06, P23): asks that lane of every tenant that has
 * connectors, round after round, until nothing is left or the grace is over. Where it is in a round is kept with the operation, so that a run
 * that dies costs a batch. A lane takes nothing for a while afterwards (DRAIN_HOLD_MS), unless it is redeployed.
 */
export const drainLane: Step = async ({ ports, operation, commit }) => {
  const { work } = operation;
  if (work === null || !("lane" in work)) return { kind: "give-up", reason: "it does not say which lane" };
  const startedMs = ports.clock();
  const begunAtMs = work.progress?.begunAtMs ?? startedMs;
  let cursor = work.progress?.cursor ?? null;
  let round = work.progress?.round ?? NOTHING;
  let last = work.progress?.last ?? null;
  const keep = () =>
    commit((tx) =>
      tx
        .update(operations)
        .set({ work: { ...work, progress: { begunAtMs, cursor, round, last } } })
        .where(eq(operations.id, operation.id)),
    );
  // Before anything is told, so that a drain that is run again ends when it was to end.
  if (work.progress === undefined) await keep();

  while (ports.clock() - startedMs < DRAIN_ATTEMPT_MS) {
    const tenants = await nextTenants(ports.db, cursor);
    const asked = await Promise.all(tenants.map((tenantId) => drainOne(ports, tenantId, work, begunAtMs)));
    round = asked.reduce(add, round);
    cursor = tenants.at(-1) ?? null;
    const isWhole = tenants.length < DRAIN_BATCH;
    if (isWhole) [last, round, cursor] = [round, NOTHING, null];
    await keep();
    if (!isWhole) continue;
    const isOver = ports.clock() >= begunAtMs + work.graceMs + DRAIN_SLACK_MS;
    return last === null || last.busy === 0 || isOver ? DONE : more(last, DRAIN_ROUND_MS);
  }
  return more(last ?? round, 0);
};

const more = ({ tenants, busy, sockets, inFlight }: LaneDrainCount, delayMs: number): StepOutcome => ({
  kind: "more",
  reason: `${busy} of ${tenants} tenants are left, with ${sockets} sockets and ${inFlight} requests`,
  delayMs,
});

/** Those with connectors: nobody else has anything at a lane. */
async function nextTenants(db: Db, after: string | null): Promise<string[]> {
  const rows = await db
    .selectDistinct({ tenantId: connectors.tenantId })
    .from(connectors)
    .where(and(isNull(connectors.deletedAt), after === null ? undefined : gt(connectors.tenantId, after)))
    .orderBy(asc(connectors.tenantId))
    .limit(DRAIN_BATCH);
  return rows.map(({ tenantId }) => tenantId);
}

/** What is left at the tenant's lane. Its other lane has to serve, with the same connectors, before this one stops. */
async function drainOne(
  ports: ProvisionerPorts,
  tenantId: string,
  { lane, graceMs }: LaneDrainWork,
  begunAtMs: number,
): Promise<LaneDrain> {
  const [a, b] = ports.lanes(tenantId);
  const [drained, other] = lane === "a" ? [a, b] : [b, a];
  await other.serve();
  if (ports.clock() < begunAtMs + DRAIN_PEER_WAIT_MS) {
    const [here, there] = await Promise.all([drained.sessions(), other.sessions()]);
    const safe = new Set(there.map(({ instanceId }) => instanceId));
    const alone = here.filter(({ instanceId }) => !safe.has(instanceId));
    if (alone.length > 0) return { sockets: here.length, inFlight: here.reduce((sum, one) => sum + one.inFlight, 0) };
  }
  return await drained.drain(graceMs, DRAIN_HOLD_MS);
}

const add = (sum: LaneDrainCount, { sockets, inFlight }: LaneDrain): LaneDrainCount => ({
  tenants: sum.tenants + 1,
  busy: sum.busy + (sockets + inFlight > 0 ? 1 : 0),
  sockets: sum.sockets + sockets,
  inFlight: sum.inFlight + inFlight,
});
