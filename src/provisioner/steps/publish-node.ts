import { eq } from "drizzle-orm";
import { nodes } from "../../db/schema.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/** The node's channel knows who may enrol, or that the node is disabled. */
export const publishNode: Step = async ({ ports, operation, commit }) => {
  const node = await commit(async (tx) => {
    const [row] = await tx.select().from(nodes).where(eq(nodes.id, operation.subjectId));
    return row;
  });
  if (node === undefined) return { kind: "give-up", reason: "the node is gone" };
  const { enrolmentHash, enrolmentExpiresAt } = node;
  await ports.nodeChannel(node.id).putGrant({
    nodeId: node.id,
    node: node.name,
    revision: node.revision,
    disabled: node.state === "disabled",
    enrolment:
      enrolmentHash === null || enrolmentExpiresAt === null
        ? null
        : { secretHash: enrolmentHash, expiresAtMs: enrolmentExpiresAt.getTime() },
  });
  return DONE;
};
