import { and, asc, eq, sql } from "drizzle-orm";
import { publishedSettingsOf, raiseRelaySettings, relaySettingsOf } from "../../db/relay-settings.ts";
import { connectors, relayIssuers, relaySettings } from "../../db/schema.ts";
import { grantOf, publishGrant, publishSettings } from "../lanes.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/** Both lanes of the tenant know the connector, its keys and rights, or that it is disabled. */
export const publishConnector: Step = async ({ ports, operation, commit }) => {
  const grant = await commit((tx) => grantOf(tx, operation.subjectId));
  // Gone: the operation that removes it comes next and needs no help.
  if (grant !== null) await publishGrant(ports, grant);
  return DONE;
};

/** Both lanes have forgotten the connector, then its row goes. */
export const removeConnector: Step = async ({ ports, operation, commit }) => {
  const [connector] = await ports.db.select().from(connectors).where(eq(connectors.id, operation.subjectId));
  if (connector === undefined) return DONE;
  const lanes = ports.lanes(connector.tenantId);
  await Promise.all(lanes.map((lane) => lane.removeConnector(connector.id, connector.revision)));
  await commit((tx) => tx.delete(connectors).where(eq(connectors.id, connector.id)));
  return DONE;
};

/** A tenant's connectors, once more: whatever was registered while the tenant was being made is known at both lanes. */
export const credentials: Step = async ({ ports, operation, commit }) => {
  const rows = await ports.db
    .select({ id: connectors.id })
    .from(connectors)
    .where(eq(connectors.tenantId, operation.subjectId))
    .orderBy(asc(connectors.id));
  // One that comes now has an operation of its own.
  if (rows.length === 0) return DONE;
  const grants = await commit(async (tx) => {
    const all = [];
    for (const { id } of rows) all.push(await grantOf(tx, id));
    return all;
  });
  for (const grant of grants) if (grant !== null) await publishGrant(ports, grant);
  return DONE;
};

/** A tenant that goes: its connectors' sockets end, their keys are forgotten, and so is whom it trusted. */
export const removeConnectors: Step = async ({ ports, operation, commit }) => {
  const tenantId = operation.subjectId;
  const gone = await commit((tx) =>
    tx
      .update(connectors)
      .set({
        deletedAt: sql`coalesce(${connectors.deletedAt}, now())`,
        revision: sql`nextval('control.revision')`,
      })
      .where(and(eq(connectors.tenantId, tenantId)))
      .returning(),
  );
  for (const { id, revision } of gone)
    await Promise.all(ports.lanes(tenantId).map((lane) => lane.removeConnector(id, revision)));
  const settings = await commit(async (tx) => {
    const current = await relaySettingsOf(tx, tenantId);
    if (current === null) return null;
    await tx.delete(relayIssuers).where(eq(relayIssuers.tenantId, tenantId));
    await tx
      .update(relaySettings)
      .set({ disabled: true, pairingUntil: null })
      .where(eq(relaySettings.tenantId, tenantId));
    await raiseRelaySettings(tx, tenantId, new Date(ports.clock()));
    return await publishedSettingsOf(tx, tenantId);
  });
  if (settings !== null) await publishSettings(ports, settings);
  return DONE;
};
