import { and, eq } from "drizzle-orm";
import { isWithdrawn } from "../../db/hosts.ts";
import { hosts } from "../../db/schema.ts";
import type { HostRow } from "../../db/tenants.ts";
import { hostsOf } from "../../db/tenants.ts";
import { columnsOfFront } from "../front-checks.ts";
import type { FrontProblem } from "../host-front.ts";
import type { StepOutcome } from "../machine.ts";
import type { ProvisionerPorts } from "../ports.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/** The provider of the front knows the tenant's custom hosts, and those that left no more. It gets certificates in its own time. */
export const frontHosts: Step = async ({ ports, operation, commit }) => {
  const { front, db } = ports;
  if (front === null) return DONE;
  const tenantId = operation.subjectId;
  const left = await db
    .select()
    .from(hosts)
    .where(and(eq(hosts.tenantId, tenantId), isWithdrawn));
  const removed = await removeAll(ports, left);
  if (removed.kind !== "done") return removed;
  for (const { host, kind, frontId } of await hostsOf(db, tenantId)) {
    if (kind !== "custom" || frontId !== null) continue;
    const ensured = await front.ensure(host, null);
    if (!ensured.ok && ensured.error.kind !== "refused") return outcomeOf(ensured.error);
    // A refusal is the host's, not the operation's: the row says so, and it is tried again by the cron.
    const columns = columnsOfFront(ensured, new Date(ports.clock()));
    await commit((tx) => tx.update(hosts).set(columns).where(eq(hosts.host, host)));
  }
  return DONE;
};

/** None of a deleted tenant's hosts is at the provider of the front any more. */
export const removeFronts: Step = async ({ ports, operation }) => {
  const custom = and(eq(hosts.tenantId, operation.subjectId), eq(hosts.kind, "custom"));
  return await removeAll(ports, await ports.db.select().from(hosts).where(custom));
};

async function removeAll({ front }: ProvisionerPorts, rows: readonly HostRow[]): Promise<StepOutcome> {
  if (front === null) return DONE;
  for (const { host, frontId } of rows) {
    const removed = await front.remove(host, frontId);
    if (!removed.ok) return outcomeOf(removed.error);
  }
  return DONE;
}

function outcomeOf(problem: FrontProblem): StepOutcome {
  if (problem.kind === "rate-limited") return { kind: "more", reason: problem.reason, delayMs: problem.retryAfterMs };
  return { kind: "error", reason: problem.reason };
}
