import { sql } from "drizzle-orm";
import { boolean, check, index, integer, jsonb, primaryKey, text, unique, uniqueIndex } from "drizzle-orm/pg-core";
import type { EdgeRules, VisitorPassword } from "../../policy/edge-policy.ts";
import type { TenantState } from "../../policy/record.ts";
import { clusters, nodes } from "./clusters.ts";
import { control, createdAt, revision, updatedAt } from "./columns.ts";

export const tenants = control.table(
  "tenants",
  {
    id: text("id").primaryKey(),
    slug: text("slug").notNull(),
    clusterId: text("cluster_id")
      .notNull()
      .references(() => clusters.id),
    /** Null until the provisioner has chosen one. */
    nodeId: text("node_id").references(() => nodes.id),
    /** What the operator asked for; null: any node with room. */
    requestedNodeId: text("requested_node_id").references(() => nodes.id),
    /** Where it moves to, until visitors are to be sent there. It has a place there already. */
    nextNodeId: text("next_node_id").references(() => nodes.id),
    /** A node that may still have it, and is to let it go: it moved away, or did not get there. */
    leavingNodeId: text("leaving_node_id").references(() => nodes.id),
    state: text("state").$type<TenantState | "deleting">().notNull().default("provisioning"),
    /** Rises with every change that nodes or the directory must learn of. */
    revision: revision(),
    accessRevision: integer("access_revision").notNull().default(1),
    /** Account id -> epoch seconds: that account's sessions from before are ended. Bounded by src/policy/revocation.ts. */
    notBefore: jsonb("not_before").$type<Record<string, number>>().notNull().default({}),
    /** What the operator decides about its visitors, beside the routes. */
    edgeRules: jsonb("edge_rules").$type<EdgeRules>().notNull().default({}),
    /** Hash of the password that routes of mode `password` want; null: none is set, and nobody gets in there. */
    visitorPassword: jsonb("visitor_password").$type<VisitorPassword>(),
    /** Whether it may have workspaces beside the default one. */
    multipleWorkspaces: boolean("multiple_workspaces").notNull().default(false),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (table) => [
    unique("tenants_slug_per_cluster").on(table.clusterId, table.slug),
    // The order of lists; also whether any cluster has a name.
    index("tenants_slug_idx").on(table.slug, table.id),
    index("tenants_node_idx").on(table.nodeId),
    index("tenants_next_node_idx").on(table.nextNodeId),
    index("tenants_leaving_node_idx").on(table.leavingNodeId),
    check("tenants_state", sql`${table.state} in ('provisioning', 'active', 'suspended', 'failed', 'deleting')`),
  ],
);

export const tenantId = () =>
  text("tenant_id")
    .notNull()
    .references(() => tenants.id, { onDelete: "cascade" });

export const workspaces = control.table(
  "workspaces",
  {
    id: text("id").primaryKey(),
    tenantId: tenantId(),
    name: text("name").notNull(),
    isDefault: boolean("is_default").notNull().default(false),
    createdAt: createdAt(),
  },
  (table) => [
    unique("workspaces_name_per_tenant").on(table.tenantId, table.name),
    uniqueIndex("workspaces_one_default")
      .on(table.tenantId)
      .where(sql`${table.isDefault}`),
  ],
);

/** Secrets at rest, encrypted under the provisioner's CREDENTIAL_KEY (src/db/seal.ts). Only the provisioner's role can read the table. */
export const credentials = control.table(
  "credentials",
  {
    tenantId: tenantId(),
    /** `database-next`: its role is not made yet. `database-old`: somebody may still use it (src/provisioner/steps/rotate-login.ts). */
    kind: text("kind", { enum: ["database", "database-next", "database-old"] }).notNull(),
    sealed: text("sealed").notNull(),
    createdAt: createdAt(),
  },
  (table) => [primaryKey({ columns: [table.tenantId, table.kind] })],
);
