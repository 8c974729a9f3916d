import { claimSubject } from "../../db/operations.ts";
import { checkClaim } from "../check-claim.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/** Looks for the proof of a claimed host now. That there is none is no failure: the claim says so, and is looked at again. */
export const checkHost: Step = async ({ ports, operation, commit }) => {
  await checkClaim(ports, claimSubject.parse(operation.subjectId), commit);
  return DONE;
};
