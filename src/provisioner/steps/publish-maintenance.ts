import { eq } from "drizzle-orm";
import { maintenanceSubject } from "../../db/operations.ts";
import { maintenanceNotices } from "../../db/schema.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/** Every object of the directory knows what visitors of the platform, or of a cluster, are told instead of what they asked for. */
export const publishMaintenance: Step = async ({ ports, operation, commit }) => {
  const scope = maintenanceSubject.scopeOf(operation.subjectId);
  const notice = await commit(async (tx) => {
    const [row] = await tx.select().from(maintenanceNotices).where(eq(maintenanceNotices.scope, scope));
    return row;
  });
  if (notice === undefined) return { kind: "give-up", reason: "there is no such notice" };
  const { maintenance, revision } = notice;
  // One that holds a newer revision keeps it; that is as good.
  await Promise.all(ports.directoryShards().map((shard) => shard.putNotice({ scope, maintenance, revision })));
  return DONE;
};
