import { boolean, jsonb, primaryKey, text, unique } from "drizzle-orm/pg-core";
import type { AccessMode, TenantRoute } from "../../policy/record.ts";
import { at, control, createdAt } from "./columns.ts";
import { tenantId } from "./tenants.ts";

/** The parts of a route that are not asked for in queries; absent ones have their defaults. */
export type RouteOptions = Pick<TenantRoute, "rewrite" | "timeouts" | "roles" | "network" | "limits" | "cors"> & {
  /** Of a redirect or an answer. */
  readonly to?: TenantRoute["to"];
};

/** What a path of a tenant leads to: one of its services, a target behind a connector, or an answer of the edge's own. */
export const routes = control.table(
  "routes",
  {
    tenantId: tenantId(),
    /** Segment-aware: "/" or without a trailing slash. */
    prefix: text("prefix").notNull(),
    access: text("access").$type<AccessMode>().notNull(),
    kind: text("kind", { enum: ["service", "target", "redirect", "answer"] }).notNull(),
    /** Name of the service or target; "" for the rest. */
    destination: text("destination").notNull(),
    options: jsonb("options").$type<RouteOptions>().notNull().default({}),
  },
  (table) => [primaryKey({ columns: [table.tenantId, table.prefix] })],
);

/** What machines get into a tenant's routes by: 256 random bits each, so a plain SHA-256 can't be turned back. The token itself is shown once. */
export const serviceTokens = control.table(
  "service_tokens",
  {
    id: text("id").primaryKey(),
    tenantId: tenantId(),
    /** Hex. */
    sha256: text("sha256").notNull().unique(),
    /** What people call it. */
    name: text("name").notNull(),
    /** Prefixes of the routes that it opens. */
    prefixes: text("prefixes").array().notNull(),
    /** Whether it may change things. */
    write: boolean("write").notNull().default(false),
    expiresAt: at("expires_at"),
    createdAt: createdAt(),
  },
  (table) => [unique("service_tokens_name_per_tenant").on(table.tenantId, table.name)],
);
