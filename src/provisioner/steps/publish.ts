import { publishAll, publicationOf } from "../directory.ts";
import { DONE, tenantOf } from "../step.ts";
import type { Step } from "../step.ts";

/** The directory shows the tenant as it is to be: active at the end of its creation, afterwards as its row says. */
export const publish: Step = async ({ ports, operation, commit }) => {
  const nowMs = ports.clock();
  const publication = await commit(async (tx) => {
    if (operation.kind === "tenant-create") return publicationOf(tx, operation, "active", nowMs);
    const { tenant } = await tenantOf(tx, operation);
    // Its deletion comes next and withdraws the hosts.
    return tenant.state === "deleting" ? null : publicationOf(tx, operation, tenant.state, nowMs);
  });
  return publication === null ? DONE : publishAll(ports, publication);
};
