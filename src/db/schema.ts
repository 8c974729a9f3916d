import { sql } from "drizzle-orm";
import {
  bigint,
  bigserial,
  boolean,
  check,
  index,
  integer,
  jsonb,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  unique,
  uniqueIndex,
} from "drizzle-orm/pg-core";
import type { EdgeRules, Maintenance, VisitorPassword } from "../policy/edge-policy.ts";
import type { DnsRecord } from "../policy/custom-host.ts";
import type { AccessMode, TenantRoute, TenantState } from "../policy/record.ts";
import type { JobAction, JobAuth, JobLogLevel, JobSchedule } from "../protocol/jobs.ts";
import type { IssuerJwk, PublicJwk } from "../protocol/jwk.ts";
import type { RelaySettings } from "../protocol/lane.ts";
import type { NodeService } from "../protocol/node-channel.ts";
import { SERVICE_PROTOCOLS } from "../protocol/service-protocol.ts";

/**
 * Control data, in the PostgreSQL schema `control`. The console writes what is wanted, the provisioner what has come of it. The edge,
 * the relay and the nodes never read it: they live on what the provisioner publishes to them (docs/storage.md).
 */
export const control = pgSchema("control");

/**
 * One counter for the revisions of tenants, connectors and nodes. Being shared it can't run backwards for a host, a name or a node that
 * changes hands, so an old message never beats a newer one.
 */
export const revisionCounter = control.sequence("revision");
const revision = () =>
  bigint("revision", { mode: "number" })
    .notNull()
    .default(sql`nextval('control.revision')`);

const at = (name: string) => timestamp(name, { withTimezone: true, mode: "date" });
const createdAt = () => at("created_at").notNull().defaultNow();
const updatedAt = () => at("updated_at").notNull().defaultNow();

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

const tenantId = () =>
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

/** State of a custom hostname at the front's provider: being set up, serving, or refused. */
export const FRONT_STATES = ["pending", "active", "failed"] as const;

/** Every host that leads to a tenant; the key makes them unique over all clusters. A custom one comes here when it was proven. */
export const hosts = control.table(
  "hosts",
  {
    /** Lower case, no port; internationalised names in their ASCII form. */
    host: text("host").primaryKey(),
    tenantId: tenantId(),
    kind: text("kind", { enum: ["primary", "custom"] }).notNull(),
    /** Since when it is on its way out; null: it is the tenant's. Nobody else can have it until it is gone. */
    leavingSince: at("leaving_since"),
    /** When the directory had lost it. */
    withdrawnAt: at("withdrawn_at"),
    /** Its custom hostname at the provider of the front; null: there is none. */
    frontId: text("front_id"),
    frontState: text("front_state", { enum: FRONT_STATES }),
    frontReason: text("front_reason"),
    /** Records that the provider asks for. */
    frontRecords: jsonb("front_records").$type<DnsRecord[]>(),
    frontCheckedAt: at("front_checked_at"),
    createdAt: createdAt(),
  },
  (table) => [
    index("hosts_tenant_idx").on(table.tenantId),
    index("hosts_front_idx")
      .on(table.frontCheckedAt)
      .where(sql`${table.kind} = 'custom'`),
    index("hosts_leaving_idx")
      .on(table.leavingSince)
      .where(sql`${table.leavingSince} is not null`),
    check("hosts_lower_case", sql`${table.host} = lower(${table.host})`),
  ],
);

export const HOST_CLAIM_STATES = ["pending", "verified", "stale", "failed"] as const;

/**
 * Hosts of their own that tenants want, and how far their proof is. Several tenants may want the same one; who proves it first gets the row in
 * `hosts`. The token belongs to tenant and host, and is made anew when the claim is.
 */
export const hostClaims = control.table(
  "host_claims",
  {
    tenantId: tenantId(),
    host: text("host").notNull(),
    /** Part of the DNS records that prove it. Not secret: DNS shows it to everybody. */
    token: text("token").notNull(),
    state: text("state", { enum: HOST_CLAIM_STATES }).notNull().default("pending"),
    stateSince: at("state_since").notNull().defaultNow(),
    /** What the last check missed, for people; null: nothing. */
    reason: text("reason"),
    /** Which record proved it last. */
    method: text("method", { enum: ["txt", "cname"] }),
    verifiedAt: at("verified_at"),
    checkedAt: at("checked_at"),
    /** Null: it is not checked any more. */
    nextCheckAt: at("next_check_at"),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.tenantId, table.host] }),
    index("host_claims_due_idx")
      .on(table.nextCheckAt)
      .where(sql`${table.nextCheckAt} is not null`),
  ],
);

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

const connectorId = () =>
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

/** Workers of a tenant's background jobs; a tenant without a row never had a job. */
export const jobSettings = control.table(
  "job_settings",
  {
    tenantId: tenantId().primaryKey(),
    /** Rises with every publication. */
    revision: revision(),
    workers: integer("workers").notNull().default(1),
    /** The most that it ever had: the others have to hear that they are gone. */
    workersEver: integer("workers_ever").notNull().default(1),
    logLevel: text("log_level").$type<JobLogLevel>().notNull().default("info"),
    /** Runs and log lines are kept so long. */
    retentionDays: integer("retention_days").notNull().default(30),
    /** When the sweep last woke its workers. */
    checkedAt: at("checked_at"),
    updatedAt: updatedAt(),
  },
  (table) => [check("job_settings_workers", sql`${table.workers} between 1 and ${table.workersEver}`)],
);

export const jobs = control.table(
  "jobs",
  {
    id: text("id").primaryKey(),
    tenantId: tenantId(),
    name: text("name").notNull(),
    /** From 0. One that does not exist: the job is shown as having a problem, and does not run. */
    worker: integer("worker").notNull().default(0),
    enabled: boolean("enabled").notNull().default(true),
    schedule: jsonb("schedule").$type<JobSchedule>().notNull(),
    action: jsonb("action").$type<JobAction>().notNull(),
    auth: jsonb("auth").$type<JobAuth>(),
    retry: boolean("retry").notNull().default(true),
    repeatable: boolean("repeatable").notNull().default(false),
    timeoutMs: integer("timeout_ms").notNull(),
    maxItems: integer("max_items").notNull(),
    /** Sealed under the provisioner's CREDENTIAL_KEY, which the console does not have: signing key of a webhook, secret of the client. */
    sealedWebhook: text("sealed_webhook"),
    sealedClient: text("sealed_client"),
    /** Start of the last run that succeeded, as its worker said. A reset raises the epoch. */
    cursorAt: at("cursor_at"),
    cursorEpoch: integer("cursor_epoch").notNull().default(0),
    revision: revision(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (table) => [unique("jobs_name_per_tenant").on(table.tenantId, table.name)],
);

export const JOB_RUN_STATES = ["queued", "running", "succeeded", "failed", "stopped"] as const;

/** One row a run, by its worker; it outlives its job. A later version replaces an earlier one. */
export const jobRuns = control.table(
  "job_runs",
  {
    id: text("id").primaryKey(),
    seq: bigserial("seq", { mode: "number" }).notNull(),
    tenantId: tenantId(),
    jobId: text("job_id").notNull(),
    /** Its name then. */
    job: text("job").notNull(),
    worker: integer("worker").notNull(),
    version: integer("version").notNull(),
    trigger: text("trigger", { enum: ["schedule", "manual"] }).notNull(),
    state: text("state", { enum: JOB_RUN_STATES }).notNull(),
    queuedAt: at("queued_at").notNull(),
    startedAt: at("started_at"),
    endedAt: at("ended_at"),
    /** The job's cursor when it began. */
    sinceAt: at("since_at"),
    /** Calls that succeeded, what their answers counted, calls that did not, calls that were made again. */
    items: integer("items").notNull(),
    records: bigint("records", { mode: "number" }).notNull(),
    errors: integer("errors").notNull(),
    retries: integer("retries").notNull(),
    reason: text("reason"),
  },
  (table) => [
    index("job_runs_tenant_idx").on(table.tenantId, table.seq),
    index("job_runs_job_idx").on(table.jobId, table.seq),
  ],
);

export const jobLogs = control.table(
  "job_logs",
  {
    id: text("id").primaryKey(),
    seq: bigserial("seq", { mode: "number" }).notNull(),
    tenantId: tenantId(),
    jobId: text("job_id").notNull(),
    runId: text("run_id").notNull(),
    at: at("at").notNull(),
    level: text("level").$type<JobLogLevel>().notNull(),
    message: text("message").notNull(),
  },
  (table) => [
    index("job_logs_tenant_idx").on(table.tenantId, table.seq),
    index("job_logs_run_idx").on(table.runId, table.seq),
  ],
);

export const apiTokens = control.table("api_tokens", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  /** SHA-256 of the token, hex. The token itself is shown once. */
  hash: text("hash").notNull().unique(),
  scopes: text("scopes").array().$type<("read" | "write" | "admin")[]>().notNull(),
  expiresAt: at("expires_at"),
  revokedAt: at("revoked_at"),
  createdAt: createdAt(),
});

export const OPERATION_KINDS = [
  "tenant-create",
  "tenant-suspend",
  "tenant-resume",
  "tenant-routes",
  "tenant-policy",
  "tenant-services",
  "tenant-hosts",
  "tenant-move",
  "tenant-move-undo",
  "tenant-change-undo",
  "tenant-revoke-sessions",
  "tenant-rotate-credentials",
  "tenant-delete",
  "connector-publish",
  "connector-remove",
  "relay-settings-publish",
  "node-publish",
  "node-drain",
  "maintenance-publish",
  "cluster-domains",
  "relay-drain",
  "host-check",
  "host-withdraw",
  "jobs-publish",
] as const;

/** What an operation of kind relay-drain is to do, and how far it is. A retried one starts over. */
export interface LaneDrainWork {
  readonly lane: "a" | "b";
  /** Open requests have so long. */
  readonly graceMs: number;
  readonly progress?: {
    /** When the first lane was told. */
    readonly begunAtMs: number;
    /** Id of the last tenant that was asked in this round; null: a round begins. */
    readonly cursor: string | null;
    /** Counted in this round so far. */
    readonly round: LaneDrainCount;
    /** Of the last whole round; null: none is done yet. */
    readonly last: LaneDrainCount | null;
  };
}

/** What an operation of kind tenant-move is to do. */
export interface MoveWork {
  /** Null: the node with the most room. */
  readonly toNodeId: string | null;
  /** Open requests and WebSockets have so long at the old node, counted from when nobody is sent there any more. */
  readonly drainMs: number;
}

/** Of kinds node-drain (for each tenant's move) and tenant-move-undo. */
export type DrainWork = Pick<MoveWork, "drainMs">;

/**
 * Of kinds tenant-routes and tenant-services: what was there before. It comes back if the operation is cancelled, or fails, before visitors
 * have what is new; gone when the operation has succeeded.
 */
export interface ChangeWork {
  readonly before: {
    readonly routes: readonly (typeof routes.$inferSelect)[];
    readonly services: readonly Omit<typeof services.$inferSelect, "updatedAt">[];
  };
}

/** `fill-masters`: how far it has come. */
export interface FillWork {
  readonly afterTenantId: string;
}

export type OperationWork = LaneDrainWork | MoveWork | DrainWork | ChangeWork | FillWork;

/** `tenants`: asked. `busy`: those of them with something left. */
export interface LaneDrainCount {
  readonly tenants: number;
  readonly busy: number;
  readonly sockets: number;
  readonly inFlight: number;
}

export const OPERATION_STATES = ["pending", "running", "succeeded", "failed"] as const;

/** Work of the provisioner. The row is the truth; queue messages only say that it may be time to look. */
export const operations = control.table(
  "operations",
  {
    id: text("id").primaryKey(),
    /** Order of creation. */
    seq: bigserial("seq", { mode: "number" }).notNull(),
    kind: text("kind", { enum: OPERATION_KINDS }).notNull(),
    /** Operations with the same subject (a tenant's, connector's or node's id, src/db/operations.ts) run one after another, in order. */
    subjectId: text("subject_id").notNull(),
    /** Null for nodes'. No foreign key: the operation that deletes a tenant outlives it. */
    tenantId: text("tenant_id"),
    state: text("state", { enum: OPERATION_STATES }).notNull().default("pending"),
    /** Attempts that ended in an error, all steps together. */
    attempts: integer("attempts").notNull().default(0),
    /** Why it waits or failed, for people. No secrets. */
    reason: text("reason"),
    /** Of kinds whose subject's row does not say what is to be done. */
    work: jsonb("work").$type<OperationWork>(),
    nextAttemptAt: at("next_attempt_at").notNull().defaultNow(),
    leaseToken: text("lease_token"),
    leaseUntil: at("lease_until"),
    /** When it was given up after its last attempt, or its message was dead-lettered. */
    deadLetteredAt: at("dead_lettered_at"),
    createdAt: createdAt(),
    startedAt: at("started_at"),
    finishedAt: at("finished_at"),
  },
  (table) => [
    unique("operations_seq").on(table.seq),
    // The claim's race is decided here: two operations of one subject can't both be running.
    uniqueIndex("operations_one_running")
      .on(table.subjectId)
      .where(sql`${table.state} = 'running'`),
    index("operations_open_idx")
      .on(table.nextAttemptAt)
      .where(sql`${table.state} in ('pending', 'running')`),
    index("operations_subject_idx").on(table.subjectId, table.seq),
    index("operations_tenant_idx").on(table.tenantId, table.seq),
  ],
);

export const STEP_STATES = ["pending", "running", "done", "failed"] as const;

export const operationSteps = control.table(
  "operation_steps",
  {
    operationId: text("operation_id")
      .notNull()
      .references(() => operations.id, { onDelete: "cascade" }),
    position: integer("position").notNull(),
    name: text("name").notNull(),
    state: text("state", { enum: STEP_STATES }).notNull().default("pending"),
    /** Attempts that ended in an error. */
    attempts: integer("attempts").notNull().default(0),
    reason: text("reason"),
    startedAt: at("started_at"),
    finishedAt: at("finished_at"),
  },
  (table) => [primaryKey({ columns: [table.operationId, table.position] })],
);

/** Messages to the queue, written with what they announce. Sent right after the commit, else by the sweep. */
export const outbox = control.table(
  "outbox",
  {
    id: text("id").primaryKey(),
    operationId: text("operation_id").notNull(),
    createdAt: createdAt(),
    sentAt: at("sent_at"),
  },
  (table) => [
    index("outbox_unsent_idx")
      .on(table.createdAt)
      .where(sql`${table.sentAt} is null`),
    // By age, to be cleared away.
    index("outbox_created_idx").on(table.createdAt),
  ],
);

/** Who did what. Never changed, never deleted with its subject. */
export const auditEvents = control.table(
  "audit_events",
  {
    id: text("id").primaryKey(),
    seq: bigserial("seq", { mode: "number" }).notNull(),
    at: at("at").notNull().defaultNow(),
    /** `token:<id>`, or `system:<worker>`. */
    actor: text("actor").notNull(),
    /** For example tenant.create. */
    action: text("action").notNull(),
    subjectId: text("subject_id").notNull(),
    tenantId: text("tenant_id"),
    requestId: text("request_id"),
    /** What changed, in short; no secrets. */
    details: jsonb("details").$type<Record<string, unknown>>().notNull().default({}),
  },
  (table) => [unique("audit_events_seq").on(table.seq), index("audit_events_tenant_idx").on(table.tenantId, table.seq)],
);

/** Answers to POST requests that carried an Idempotency-Key, so that a repeated one changes nothing. Kept for a day. */
export const idempotencyKeys = control.table(
  "idempotency_keys",
  {
    tokenId: text("token_id").notNull(),
    key: text("key").notNull(),
    /** HMAC of method, path and body under the caller's token. */
    requestMac: text("request_mac").notNull(),
    /** The answer, encrypted under a key made from the caller's token: it may hold a secret that is shown once. Null while it is made. */
    sealedAnswer: text("sealed_answer"),
    createdAt: createdAt(),
    expiresAt: at("expires_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.tokenId, table.key] }),
    index("idempotency_keys_expires_idx").on(table.expiresAt),
  ],
);
