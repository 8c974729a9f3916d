import { eq, sql } from "drizzle-orm";
import type { Db } from "../../db/client.ts";
import { services, tenants } from "../../db/schema.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/** The node runs what it should, and no more; now the control data says so too. */
export const settleServices: Step = async ({ ports, operation, commit }) => {
  const now = new Date(ports.clock());
  await commit((tx) => sayWhatRuns(tx, operation.subjectId, now));
  return DONE;
};

export async function sayWhatRuns(tx: Db, tenantId: string, now: Date): Promise<void> {
  await tx
    .update(services)
    .set({
      status: sql`case when ${services.stopped} or ${tenantIsSuspended} then 'EXITED' else 'RUNNING' end`,
      updatedAt: now,
    })
    .where(eq(services.tenantId, tenantId));
}

const tenantIsSuspended = sql`exists (
  select 1 from ${tenants} where ${tenants.id} = ${services.tenantId} and ${tenants.state} = 'suspended')`;
