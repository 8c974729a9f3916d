import { eq } from "drizzle-orm";
import { publishedSettingsOf, raiseRelaySettings, relaySettingsOf } from "../../db/relay-settings.ts";
import { connectors } from "../../db/schema.ts";
import { publishSettings } from "../lanes.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/**
 * Both lanes know whether the tenant is suspended, and end what visitors have open there. Lanes of a tenant that never had a connector or a
 * setting are left asleep: nothing can be open at them.
 */
export const settleLanes: Step = async ({ ports, operation, commit }) => {
  const tenantId = operation.subjectId;
  const now = new Date(ports.clock());
  const settings = await commit(async (tx) => {
    const [connector] = await tx
      .select({ id: connectors.id })
      .from(connectors)
      .where(eq(connectors.tenantId, tenantId))
      .limit(1);
    if (connector === undefined && (await relaySettingsOf(tx, tenantId)) === null) return null;
    await raiseRelaySettings(tx, tenantId, now);
    return await publishedSettingsOf(tx, tenantId);
  });
  if (settings !== null) await publishSettings(ports, settings);
  return DONE;
};
