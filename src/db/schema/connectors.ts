import { sql } from "drizzle-orm";
import { bigint, boolean, index, jsonb, text, unique, uniqueIndex } from "drizzle-orm/pg-core";
import type { PublicJwk } from "../../protocol/jwk.ts";
import { at, control, createdAt, revision, updatedAt } from "./columns.ts";
import { tenantId } from "./tenants.ts";

/** A way into a site. Its row outlives a deletion until both lanes know of it (`deletedAt`). */
export const connectors = control.table(
  "connectors",
  {
    id: text("id").primaryKey(),
    tenantId: tenantId(),
    name: text("name").notNull(),
    disabled: boolean("disabled").notNull().default(false),
    /** Targets that it may announce; null: any. */
    targets: text("targets").array(),
    /** Subject that an outside issuer of the tenant gives it; null: none does. */
    issuerSubject: text("issuer_subject"),
    /** Only requests that change nothing may be sent to it. */
    readOnly: boolean("read_only").notNull().default(false),
    /** It leaves then and is refused afterwards; null: never. */
    expiresAt: at("expires_at"),
    /** Target configuration pushed to it, as JSON text; null: its own files only. */
    config: text("config"),
    /** Of the newest push; rises with each, also when the push was that there is none any more. */
    configRevision: bigint("config_revision", { mode: "number" }).notNull().default(0),
    revision: revision(),
    state: text("state", { enum: ["online", "offline"] })
      .notNull()
      .default("offline"),
    lastSeenAt: at("last_seen_at"),
    /** When the sweep last asked the lanes whether its sockets are still there. */
    checkedAt: at("checked_at"),
    deletedAt: at("deleted_at"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (table) => [
    uniqueIndex("connectors_name_per_tenant")
      .on(table.tenantId, table.name)
      .where(sql`${table.deletedAt} is null`),
  ],
);

export const connectorId = () =>
  text("connector_id")
    .notNull()
    .references(() => connectors.id, { onDelete: "cascade" });

/** Public keys only: the private one never leaves the site. */
export const connectorKeys = control.table(
  "connector_keys",
  {
    id: text("id").primaryKey(),
    connectorId: connectorId(),
    kid: text("kid").notNull(),
    publicKey: jsonb("public_key").$type<PublicJwk>().notNull(),
    createdAt: createdAt(),
  },
  (table) => [unique("connector_keys_kid_per_connector").on(table.connectorId, table.kid)],
);

/** Client secrets: 256 random bits each, so a plain SHA-256 can't be turned back. The secret itself is shown once. */
export const connectorSecrets = control.table(
  "connector_secrets",
  {
    id: text("id").primaryKey(),
    connectorId: connectorId(),
    /** Hex. */
    sha256: text("sha256").notNull().unique(),
    /** What people call it; so that they know which one to remove. */
    label: text("label").notNull(),
    expiresAt: at("expires_at"),
    /** When a socket that was proved with it came last, by the relay's events. */
    lastUsedAt: at("last_used_at"),
    createdAt: createdAt(),
  },
  (table) => [index("connector_secrets_connector_idx").on(table.connectorId)],
);

/** One row a socket, by the relay's events. Events may come late, twice and in any order: `offlineAt` is never taken back. */
export const connectorSessions = control.table(
  "connector_sessions",
  {
    id: text("id").primaryKey(),
    connectorId: connectorId(),
    instanceId: text("instance_id").notNull(),
    lane: text("lane", { enum: ["a", "b"] }).notNull(),
    onlineAt: at("online_at"),
    offlineAt: at("offline_at"),
    /** Why it ended, in the relay's words. */
    reason: text("reason"),
  },
  (table) => [
    index("connector_sessions_connector_idx").on(table.connectorId, table.onlineAt),
    // By age, to be cleared away.
    index("connector_sessions_offline_idx").on(table.offlineAt),
  ],
);
