import type { Db } from "../db/client.ts";
import type { OperationRow } from "../db/operations.ts";
import { tenantById } from "../db/tenants.ts";
import type { TenantAndCluster } from "../db/tenants.ts";
import type { StepOutcome } from "./machine.ts";
import type { ProvisionerPorts } from "./ports.ts";

export interface StepContext {
  readonly ports: ProvisionerPorts;
  readonly operation: OperationRow;
  /** When the step was first begun, as its row says: whoever takes the operation over waits no longer than the first. */
  readonly begunAt: Date;
  /**
   * The only way in which a step changes control data: a transaction that stops a run that was overtaken. What a step publishes is read in
   * such a transaction together with its revision, so that a slow run's publication carries an old revision and is refused.
   */
  readonly commit: <T>(work: (tx: Db) => Promise<T>) => Promise<T>;
}

/** One step of a plan. Safe to run again at any point; a thrown error is an attempt that failed. */
export type Step = (context: StepContext) => Promise<StepOutcome>;

export const DONE: StepOutcome = { kind: "done" };

/** The operation's tenant; throws when it is gone, which no plan allows before its last step. */
export async function tenantOf(db: Db, operation: OperationRow): Promise<TenantAndCluster> {
  const found = await tenantById(db, operation.subjectId);
  if (found === null) throw new Error("the tenant is gone");
  return found;
}
