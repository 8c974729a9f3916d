import { sql } from "drizzle-orm";
import { boolean, check, jsonb, primaryKey, text } from "drizzle-orm/pg-core";
import type { AccessMode } from "../../policy/record.ts";
import type { NodeService } from "../../protocol/node-channel.ts";
import { SERVICE_PROTOCOLS } from "../../protocol/service-protocol.ts";
import { clusters } from "./clusters.ts";
import { control, updatedAt } from "./columns.ts";
import { tenantId, workspaces } from "./tenants.ts";

/** What the nodes of a cluster can run for a tenant, and the routes that come with it. */
export const catalogue = control.table(
  "service_catalogue",
  {
    clusterId: text("cluster_id")
      .notNull()
      .references(() => clusters.id, { onDelete: "cascade" }),
    name: text("name").notNull(),
    driver: jsonb("driver").$type<NodeService["driver"]>().notNull(),
    protocol: text("protocol", { enum: SERVICE_PROTOCOLS }).notNull().default("http"),
    healthPath: text("health_path"),
    /** Needs the tenant's database schema: it gets DATABASE_URL. */
    needsSchema: boolean("needs_schema").notNull().default(false),
    routes: jsonb("routes").$type<{ prefix: string; access: AccessMode }[]>().notNull(),
    /** New tenants get it unless they name their services. */
    isDefault: boolean("is_default").notNull().default(true),
  },
  (table) => [primaryKey({ columns: [table.clusterId, table.name] })],
);

export const SERVICE_STATUSES = ["RUNNING", "EXITED", "CREATED", "UNAVAILABLE"] as const;

/** A catalogue entry instantiated for a tenant and workspace. */
export const services = control.table(
  "services",
  {
    tenantId: tenantId(),
    workspaceId: text("workspace_id")
      .notNull()
      .references(() => workspaces.id, { onDelete: "cascade" }),
    name: text("name").notNull(),
    driver: jsonb("driver").$type<NodeService["driver"]>().notNull(),
    protocol: text("protocol", { enum: SERVICE_PROTOCOLS }).notNull().default("http"),
    healthPath: text("health_path"),
    needsSchema: boolean("needs_schema").notNull().default(false),
    /** Switched off by somebody: it stays what it is, and does not run. */
    stopped: boolean("stopped").notNull().default(false),
    status: text("status", { enum: SERVICE_STATUSES }).notNull().default("CREATED"),
    updatedAt: updatedAt(),
  },
  (table) => [
    primaryKey({ columns: [table.tenantId, table.workspaceId, table.name] }),
    check("services_status", sql`${table.status} in ('RUNNING', 'EXITED', 'CREATED', 'UNAVAILABLE')`),
  ],
);
