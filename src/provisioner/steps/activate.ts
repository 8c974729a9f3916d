import { and, eq } from "drizzle-orm";
import { tenants } from "../../db/schema.ts";
import { sayWhatRuns } from "./settle-services.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/** Nodes and directory have all that they need; now the control data says so too. */
export const activate: Step = async ({ ports, operation, commit }) => {
  const now = new Date(ports.clock());
  await commit(async (tx) => {
    await Promise.all([
      tx
        .update(tenants)
        .set({ state: "active", updatedAt: now })
        .where(and(eq(tenants.id, operation.subjectId), eq(tenants.state, "provisioning"))),
      sayWhatRuns(tx, operation.subjectId, now),
    ]);
  });
  return DONE;
};
