import { asc, eq, sql } from "drizzle-orm";
import { relaySettings as relaySettingsSchema, tenantSettings, type TenantSettings } from "../protocol/lane.ts";
import type { Db } from "./client.ts";
import { relayIssuers, relaySettings } from "./schema.ts";
import { tenantById, tenantName } from "./tenants.ts";

export type RelaySettingsRow = typeof relaySettings.$inferSelect;
export type RelayIssuerRow = typeof relayIssuers.$inferSelect;

/** The tenant's row, locked until the transaction ends; made with the defaults when there is none. Under a new revision. */
export async function raiseRelaySettings(tx: Db, tenantId: string, now: Date): Promise<RelaySettingsRow> {
  const [row] = await tx
    .insert(relaySettings)
    .values({ tenantId, settings: relaySettingsSchema.parse({}), updatedAt: now })
    .onConflictDoUpdate({
      target: relaySettings.tenantId,
      set: { revision: sql`nextval('control.revision')`, updatedAt: now },
    })
    .returning();
  if (row === undefined) throw new Error("no row came back");
  return row;
}

/** Null: the defaults hold. */
export async function relaySettingsOf(db: Db, tenantId: string): Promise<RelaySettingsRow | null> {
  const [row] = await db.select().from(relaySettings).where(eq(relaySettings.tenantId, tenantId));
  return row ?? null;
}

export async function relayIssuersOf(db: Db, tenantId: string): Promise<RelayIssuerRow[]> {
  return await db
    .select()
    .from(relayIssuers)
    .where(eq(relayIssuers.tenantId, tenantId))
    .orderBy(asc(relayIssuers.issuer));
}

/** What both lanes are to know of the tenant, under its current revision; null when nobody has set anything, or the tenant is gone. */
export async function publishedSettingsOf(tx: Db, tenantId: string): Promise<TenantSettings | null> {
  // The lock keeps settings, issuers and revision together: whoever changes issuers raises the revision first.
  const [row] = await tx.select().from(relaySettings).where(eq(relaySettings.tenantId, tenantId)).for("no key update");
  const found = await tenantById(tx, tenantId);
  if (row === undefined || found === null) return null;
  const issuers = await relayIssuersOf(tx, tenantId);
  return tenantSettings.parse({
    ...row.settings,
    tenantId,
    tenant: tenantName(found.tenant.slug, found.cluster),
    revision: row.revision,
    disabled: row.disabled,
    suspended: found.tenant.state === "suspended",
    issuers: issuers.map(({ issuer, audience, keys }) => ({ issuer, audience, keys })),
    pairingUntilMs: row.pairingUntil?.getTime() ?? null,
  });
}
