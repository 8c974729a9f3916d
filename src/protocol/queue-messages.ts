import { z } from "zod";

/** Queue `causeway-provisioning`: work to carry on. The operation's row is the truth, the message only a nudge: lost, late and doubled ones are harmless. */
export const provisioningMessage = z.object({
  kind: z.literal("operation"),
  operationId: z.string(),
});
export type ProvisioningMessage = z.infer<typeof provisioningMessage>;

/** Queue `causeway-events`: what the relay saw, for the control data. Idempotent by (subject, atMs). */
export const relayEvent = z.discriminatedUnion("kind", [
  z.object({
    kind: z.enum(["connector-online", "connector-offline"]),
    tenantId: z.string(),
    connectorId: z.string(),
    instanceId: z.string(),
    lane: z.enum(["a", "b"]),
    /** Id of the socket's session, so that a late "offline" can't hide a newer "online". */
    sessionId: z.string(),
    reason: z.string().nullable(),
    /** Client secret by which the socket was proved; null: by something else. */
    secretId: z.string().nullable().default(null),
    atMs: z.number(),
  }),
  z.object({ kind: z.enum(["node-online", "node-offline", "node-enrolled"]), nodeId: z.string(), atMs: z.number() }),
]);
export type RelayEvent = z.input<typeof relayEvent>;
