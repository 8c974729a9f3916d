import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/**
 * The channel of a node that is gone refuses its agent for ever, and ends the one that is connected: the grant is a tombstone, with a
 * revision above all that was published of the node. No master has to know, for no tenant was there.
 */
export const removeNode: Step = async ({ ports, operation: { subjectId: nodeId, work } }) => {
  if (work === null || !("removedNode" in work)) return { kind: "give-up", reason: "there is no node to remove" };
  const { removedNode: node, revision } = work;
  await ports.nodeChannel(nodeId).putGrant({ nodeId, node, revision, disabled: true, enrolment: null });
  return DONE;
};
