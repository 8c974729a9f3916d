import { asc, eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { connectorKeys, connectors, connectorSecrets } from "../db/schema.ts";
import { tenantById, tenantName } from "../db/tenants.ts";
import type { ConnectorGrant, TenantSettings } from "../protocol/lane.ts";
import type { ProvisionerPorts } from "./ports.ts";

/** What the lanes are to know of a connector, under its current revision; null when it is gone or on its way out. In a transaction. */
export async function grantOf(tx: Db, connectorId: string): Promise<ConnectorGrant | null> {
  // The lock keeps keys and revision together: whoever changes keys raises the revision first.
  const [connector] = await tx.select().from(connectors).where(eq(connectors.id, connectorId)).for("no key update");
  if (connector === undefined || connector.deletedAt !== null) return null;
  const found = await tenantById(tx, connector.tenantId);
  if (found === null) return null;
  const keys = await tx
    .select({ key: connectorKeys.publicKey })
    .from(connectorKeys)
    .where(eq(connectorKeys.connectorId, connectorId))
    .orderBy(asc(connectorKeys.createdAt), asc(connectorKeys.id));
  const secrets = await tx
    .select()
    .from(connectorSecrets)
    .where(eq(connectorSecrets.connectorId, connectorId))
    .orderBy(asc(connectorSecrets.createdAt), asc(connectorSecrets.id));
  return {
    tenantId: connector.tenantId,
    tenant: tenantName(found.tenant.slug, found.cluster),
    connectorId,
    name: connector.name,
    revision: connector.revision,
    disabled: connector.disabled,
    keys: keys.map(({ key }) => key),
    secrets: secrets.map(({ id, sha256, expiresAt }) => ({ id, sha256, expiresAtMs: expiresAt?.getTime() ?? null })),
    issuerSubject: connector.issuerSubject,
    targets: connector.targets,
    readOnly: connector.readOnly,
    expiresAtMs: connector.expiresAt?.getTime() ?? null,
    config: connector.config === null ? null : { revision: connector.configRevision, json: connector.config },
  };
}

/** Tells both lanes. A lane that holds a newer revision keeps it; that is as good. */
export async function publishGrant(ports: ProvisionerPorts, grant: ConnectorGrant): Promise<void> {
  await Promise.all(ports.lanes(grant.tenantId).map((lane) => lane.putConnector(grant)));
}

/** Tells both lanes. As above. */
export async function publishSettings(ports: ProvisionerPorts, settings: TenantSettings): Promise<void> {
  await Promise.all(ports.lanes(settings.tenantId).map((lane) => lane.putSettings(settings)));
}
