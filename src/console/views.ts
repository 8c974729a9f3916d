import { z } from "@hono/zod-openapi";
import { nextAttemptOf } from "../db/operations.ts";
import type { OperationRow, StepRow } from "../db/operations.ts";
import { tenantName } from "../db/tenants.ts";
import type { TenantAndCluster } from "../db/tenants.ts";
import {
  NODE_ROLES,
  NODE_STATES,
  OPERATION_KINDS,
  OPERATION_STATES,
  SERVICE_STATUSES,
  STEP_STATES,
} from "../db/schema.ts";
import type { apiTokens, clusters, connectors, connectorSecrets, nodes } from "../db/schema.ts";
import { accessMode, tenantRoute } from "../policy/record.ts";
import { publicJwk } from "../protocol/jwk.ts";
import { nodeService } from "../protocol/node-channel.ts";
import { SERVICE_PROTOCOLS } from "../protocol/service-protocol.ts";

/** What the API shows, and how it is made from rows. Times are ISO 8601, UTC. */

const time = z.iso.datetime();
const iso = (date: Date): string => date.toISOString();
const isoOrNull = (date: Date | null): string | null => (date === null ? null : date.toISOString());

export const clusterView = z
  .object({
    id: z.string(),
    name: z.string(),
    baseDomains: z.array(z.string()),
    databaseBinding: z.string(),
    isDefault: z.boolean(),
    createdAt: time,
  })
  .openapi("Cluster");

export const viewCluster = (row: typeof clusters.$inferSelect): z.input<typeof clusterView> => ({
  id: row.id,
  name: row.name,
  baseDomains: row.baseDomains,
  databaseBinding: row.databaseBinding,
  isDefault: row.isDefault,
  createdAt: iso(row.createdAt),
});

export const nodeView = z
  .object({
    id: z.string(),
    name: z.string(),
    cluster: z.string(),
    role: z.enum(NODE_ROLES),
    envoyUrl: z.string(),
    mastersAddress: z.string().nullable(),
    capacity: z.number().int(),
    /** Tenants that are on it. */
    tenants: z.number().int(),
    state: z.enum(NODE_STATES),
    labels: z.record(z.string(), z.string()),
    enrolled: z.boolean(),
    online: z.boolean(),
    lastSeenAt: time.nullable(),
    createdAt: time,
  })
  .openapi("Node");

export const viewNode = (
  row: typeof nodes.$inferSelect,
  cluster: string,
  tenants: number,
): z.input<typeof nodeView> => ({
  id: row.id,
  name: row.name,
  cluster,
  role: row.role,
  envoyUrl: row.envoyUrl,
  mastersAddress: row.mastersAddress,
  capacity: row.capacity,
  tenants,
  state: row.state,
  labels: row.labels,
  enrolled: row.enrolledAt !== null,
  online: row.online,
  lastSeenAt: isoOrNull(row.lastSeenAt),
  createdAt: iso(row.createdAt),
});

export const tenantView = z
  .object({
    id: z.string(),
    slug: z.string(),
    name: z.string().openapi({ description: "slug, or slug@cluster outside the default cluster" }),
    cluster: z.string(),
    node: z.string().nullable(),
    state: z.enum(["provisioning", "active", "suspended", "failed", "deleting"]),
    hosts: z.array(z.string()),
    revision: z.number().int(),
    accessRevision: z.number().int(),
    multipleWorkspaces: z.boolean(),
    createdAt: time,
    updatedAt: time,
  })
  .openapi("Tenant");

export const viewTenant = (
  { tenant, cluster }: TenantAndCluster,
  node: string | null,
  hosts: readonly string[],
): z.input<typeof tenantView> => ({
  id: tenant.id,
  slug: tenant.slug,
  name: tenantName(tenant.slug, cluster),
  cluster: cluster.name,
  node,
  state: tenant.state,
  hosts: [...hosts],
  revision: tenant.revision,
  accessRevision: tenant.accessRevision,
  multipleWorkspaces: tenant.multipleWorkspaces,
  createdAt: iso(tenant.createdAt),
  updatedAt: iso(tenant.updatedAt),
});

export const workspaceView = z
  .object({ id: z.string(), name: z.string(), isDefault: z.boolean(), createdAt: time })
  .openapi("Workspace");
/** A copy: what was made before `z` learned of OpenAPI (whoever imports the policy first) has not learned of it. */
export const routeView = tenantRoute.clone().openapi("Route");
export const serviceView = z
  .object({
    name: z.string(),
    workspace: z.string(),
    driver: z.string(),
    protocol: z.enum(SERVICE_PROTOCOLS),
    stopped: z.boolean().openapi({ description: "Switched off: it does not run, its routes answer 503" }),
    status: z.enum(SERVICE_STATUSES),
    updatedAt: time,
  })
  .openapi("Service");
export const catalogueEntry = z
  .object({
    name: z.string(),
    driver: nodeService.shape.driver,
    protocol: z.enum(SERVICE_PROTOCOLS),
    healthPath: z.string().nullable(),
    needsSchema: z.boolean(),
    isDefault: z.boolean(),
    routes: z.array(z.object({ prefix: z.string(), access: accessMode })),
  })
  .openapi("CatalogueEntry");

export const connectorView = z
  .object({
    id: z.string(),
    tenant: z.string(),
    name: z.string(),
    clientId: z.string().openapi({ description: "What it calls itself: tenant/name" }),
    credentials: z
      .object({
        keys: z.number().int(),
        secrets: z.number().int().openapi({ description: "Never shown; each was shown once when it was made" }),
        issuerSubject: z.string().nullable().openapi({ description: "Subject that an outside issuer gives it" }),
      })
      .openapi({ description: "How it may prove itself" }),
    disabled: z.boolean().openapi({ description: "Locked: its sockets end, and it can't log in" }),
    readOnly: z.boolean().openapi({ description: "Only GET, HEAD and OPTIONS are sent to it" }),
    expiresAt: time.nullable().openapi({ description: "It leaves then, and is refused afterwards" }),
    targets: z.array(z.string()).nullable().openapi({ description: "Targets that it may announce; null: any" }),
    configRevision: z
      .number()
      .int()
      .nullable()
      .openapi({ description: "Of the configuration pushed to it; null: none" }),
    state: z.enum(["online", "offline"]),
    instances: z.number().int().openapi({ description: "Processes of it that are online" }),
    lastLoginAt: time.nullable(),
    lastSeenAt: time.nullable(),
    revision: z.number().int(),
    createdAt: time,
  })
  .openapi("Connector");

/** What of a connector is in other tables. */
export interface ConnectorFacts {
  readonly keys: number;
  readonly secrets: number;
  readonly instances: number;
  readonly lastLoginAt: Date | null;
}

export const viewConnector = (
  row: typeof connectors.$inferSelect,
  tenant: string,
  facts: ConnectorFacts,
): z.input<typeof connectorView> => ({
  id: row.id,
  tenant,
  name: row.name,
  clientId: `${tenant}/${row.name}`,
  credentials: { keys: facts.keys, secrets: facts.secrets, issuerSubject: row.issuerSubject },
  disabled: row.disabled,
  readOnly: row.readOnly,
  expiresAt: isoOrNull(row.expiresAt),
  targets: row.targets,
  configRevision: row.config === null ? null : row.configRevision,
  state: row.state,
  instances: facts.instances,
  lastLoginAt: isoOrNull(facts.lastLoginAt),
  lastSeenAt: isoOrNull(row.lastSeenAt),
  revision: row.revision,
  createdAt: iso(row.createdAt),
});

export const secretView = z
  .object({
    id: z.string(),
    label: z.string(),
    secret: z.literal("********").openapi({ description: "It was shown once, when it was made" }),
    expiresAt: time.nullable(),
    lastUsedAt: time.nullable(),
    createdAt: time,
  })
  .openapi("ConnectorSecret");

export const viewSecret = (row: typeof connectorSecrets.$inferSelect): z.input<typeof secretView> => ({
  id: row.id,
  label: row.label,
  secret: "********",
  expiresAt: isoOrNull(row.expiresAt),
  lastUsedAt: isoOrNull(row.lastUsedAt),
  createdAt: iso(row.createdAt),
});

export const keyView = z.object({ kid: z.string(), key: publicJwk, createdAt: time }).openapi("ConnectorKey");
export const sessionView = z
  .object({
    id: z.string(),
    instanceId: z.string(),
    lane: z.enum(["a", "b"]),
    onlineAt: time.nullable(),
    offlineAt: time.nullable(),
    reason: z.string().nullable(),
  })
  .openapi("ConnectorSession");

const stepView = z
  .object({
    name: z.string(),
    state: z.enum(STEP_STATES),
    attempts: z.number().int().openapi({ description: "Attempts that ended in an error" }),
    reason: z.string().nullable(),
    startedAt: time.nullable(),
    finishedAt: time.nullable(),
  })
  .openapi("OperationStep");

export const operationView = z
  .object({
    id: z.string(),
    kind: z.enum(OPERATION_KINDS),
    subjectId: z.string(),
    tenantId: z.string().nullable(),
    state: z.enum(OPERATION_STATES),
    attempts: z.number().int(),
    reason: z.string().nullable().openapi({ description: "Why it waits or failed" }),
    deadLettered: z.boolean(),
    nextAttemptAt: time.nullable(),
    createdAt: time,
    startedAt: time.nullable(),
    finishedAt: time.nullable(),
    steps: z.array(stepView),
    drain: z
      .object({
        lane: z.enum(["a", "b"]),
        graceSeconds: z.number().int(),
        left: z
          .object({
            tenants: z.number().int().openapi({ description: "That were asked" }),
            busy: z.number().int().openapi({ description: "Of them: with something left" }),
            sockets: z.number().int(),
            requests: z.number().int(),
          })
          .nullable()
          .openapi({ description: "In the last whole round over all tenants; null: none is done yet" }),
      })
      .nullable()
      .openapi({ description: "Of a relay-drain: how far it is" }),
  })
  .openapi("Operation");
export type OperationView = z.input<typeof operationView>;

export function viewOperation({ operation, steps }: { operation: OperationRow; steps: StepRow[] }): OperationView {
  const { id, kind, subjectId, tenantId, state, attempts, reason } = operation;
  return {
    id,
    kind,
    subjectId,
    tenantId,
    state,
    attempts,
    reason,
    deadLettered: operation.deadLetteredAt !== null,
    nextAttemptAt: state === "pending" ? iso(nextAttemptOf(operation)) : null,
    createdAt: iso(operation.createdAt),
    startedAt: isoOrNull(operation.startedAt),
    finishedAt: isoOrNull(operation.finishedAt),
    steps: steps.map((step) => ({
      name: step.name,
      state: step.state,
      attempts: step.attempts,
      reason: step.reason,
      startedAt: isoOrNull(step.startedAt),
      finishedAt: isoOrNull(step.finishedAt),
    })),
    drain: viewDrain(operation),
  };
}

function viewDrain({ work }: OperationRow): OperationView["drain"] {
  if (work === null || !("lane" in work)) return null;
  const last = work.progress?.last ?? null;
  return {
    lane: work.lane,
    graceSeconds: Math.round(work.graceMs / 1000),
    left:
      last === null ? null : { tenants: last.tenants, busy: last.busy, sockets: last.sockets, requests: last.inFlight },
  };
}

export const auditView = z
  .object({
    id: z.string(),
    at: time,
    actor: z.string(),
    action: z.string(),
    subjectId: z.string(),
    tenantId: z.string().nullable(),
    requestId: z.string().nullable(),
    details: z.record(z.string(), z.unknown()),
  })
  .openapi("AuditEvent");

export const apiTokenView = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: z.array(z.enum(["read", "write", "admin"])),
    expiresAt: time.nullable().openapi({ description: "null: until it is revoked" }),
    revokedAt: time.nullable(),
    createdAt: time,
  })
  .openapi("ApiToken");

export const viewApiToken = (row: typeof apiTokens.$inferSelect): z.input<typeof apiTokenView> => ({
  id: row.id,
  name: row.name,
  scopes: row.scopes,
  expiresAt: isoOrNull(row.expiresAt),
  revokedAt: isoOrNull(row.revokedAt),
  createdAt: iso(row.createdAt),
});
