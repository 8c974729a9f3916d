import { sql } from "drizzle-orm";
import { boolean, check, index, integer, jsonb, text, uniqueIndex } from "drizzle-orm/pg-core";
import type { Maintenance } from "../../policy/edge-policy.ts";
import { at, control, createdAt, revision, updatedAt } from "./columns.ts";

/** A group of nodes with a database and base domains. */
export const clusters = control.table(
  "clusters",
  {
    id: text("id").primaryKey(),
    name: text("name").notNull().unique(),
    /** Lower case; a new tenant's host is `<slug>.<first>`. */
    baseDomains: text("base_domains").array().notNull(),
    /** Name of the provisioner's Hyperdrive binding for the cluster's database. */
    databaseBinding: text("database_binding").notNull(),
    /** Where the tenants' services reach that database: postgres://host:port/database, no user, no password. */
    databaseAddress: text("database_address").notNull(),
    isDefault: boolean("is_default").notNull().default(false),
    createdAt: createdAt(),
  },
  (table) => [
    uniqueIndex("clusters_one_default")
      .on(table.isDefault)
      .where(sql`${table.isDefault}`),
    check("clusters_has_base_domain", sql`cardinality(${table.baseDomains}) > 0`),
  ],
);

/** Maintenance that is the operator's word to all visitors of the platform, or of a cluster. No row: there never was any. */
export const maintenanceNotices = control.table("maintenance_notices", {
  /** `*` for the whole platform, else a cluster's name. */
  scope: text("scope").primaryKey(),
  /** Null: it is over. */
  maintenance: jsonb("maintenance").$type<Maintenance>(),
  revision: revision(),
  updatedAt: updatedAt(),
});

/** `node`: has tenants. `master`: a self-hosted front, which sends visitors to nodes of its cluster and to the edge. */
export const NODE_ROLES = ["node", "master"] as const;

export const NODE_STATES = ["active", "draining", "disabled"] as const;

/** A machine with an Envoy and a node agent. */
export const nodes = control.table(
  "nodes",
  {
    id: text("id").primaryKey(),
    name: text("name").notNull().unique(),
    clusterId: text("cluster_id")
      .notNull()
      .references(() => clusters.id),
    role: text("role", { enum: NODE_ROLES }).notNull().default("node"),
    /** Base URL under which the edge reaches its Envoy; of a master, under which visitors do. */
    envoyUrl: text("envoy_url").notNull(),
    /** Host and port where masters reach it; null: they send its tenants' visitors to the edge. */
    mastersAddress: text("masters_address"),
    /** Tenants that it takes. */
    capacity: integer("capacity").notNull(),
    /** Only `active` nodes get new tenants. */
    state: text("state", { enum: NODE_STATES }).notNull().default("active"),
    labels: jsonb("labels").$type<Record<string, string>>().notNull().default({}),
    revision: revision(),
    /** SHA-256 of the open enrolment secret, hex; null when none is open. */
    enrolmentHash: text("enrolment_hash"),
    /** So that a late report of an older enrolment does not close a newer one. */
    enrolmentOpenedAt: at("enrolment_opened_at"),
    enrolmentExpiresAt: at("enrolment_expires_at"),
    enrolledAt: at("enrolled_at"),
    online: boolean("online").notNull().default(false),
    /** Of the newest presence event; older events change nothing. */
    presenceAt: at("presence_at"),
    /** When the sweep last asked the node's channel whether that is still true. */
    checkedAt: at("checked_at"),
    lastSeenAt: at("last_seen_at"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (table) => [
    index("nodes_cluster_idx").on(table.clusterId),
    check("nodes_capacity_not_negative", sql`${table.capacity} >= 0`),
  ],
);
