import { publishAll, publicationOf } from "../directory.ts";
import type { Step } from "../step.ts";

/** Takes the tenant's hosts in the directory: visitors see "not ready yet", and no other tenant can get them. */
export const reserveHost: Step = async ({ ports, operation, commit }) =>
  publishAll(ports, await commit((tx) => publicationOf(tx, operation, "provisioning", ports.clock())));
