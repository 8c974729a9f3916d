import { boolean, jsonb, primaryKey, text } from "drizzle-orm/pg-core";
import type { IssuerJwk } from "../../protocol/jwk.ts";
import type { RelaySettings } from "../../protocol/lane.ts";
import { at, control, revision, updatedAt } from "./columns.ts";
import { tenantId } from "./tenants.ts";

/** What a tenant's relay is to do; a tenant without a row has the defaults (protocol/lane.ts, tenantSettings). */
export const relaySettings = control.table("relay_settings", {
  tenantId: tenantId().primaryKey(),
  revision: revision(),
  disabled: boolean("disabled").notNull().default(false),
  /** Limits, timeouts and the like. */
  settings: jsonb("settings").$type<RelaySettings>().notNull(),
  /** Until when unknown connectors may ask to be let in; null: closed. */
  pairingUntil: at("pairing_until"),
  updatedAt: updatedAt(),
});

/** Outside issuers of a tenant with the keys that they published, fetched by the provisioner. */
export const relayIssuers = control.table(
  "relay_issuers",
  {
    tenantId: tenantId(),
    issuer: text("issuer").notNull(),
    audience: text("audience").notNull(),
    keys: jsonb("keys").$type<IssuerJwk[]>().notNull().default([]),
    /** When its keys were fetched last; null: not yet. */
    fetchedAt: at("fetched_at"),
    /** When it was last tried. */
    triedAt: at("tried_at"),
    /** Why the last try failed; null: it did not. */
    problem: text("problem"),
  },
  (table) => [primaryKey({ columns: [table.tenantId, table.issuer] })],
);
