import { sql } from "drizzle-orm";
import { bigserial, index, integer, jsonb, primaryKey, text, unique, uniqueIndex } from "drizzle-orm/pg-core";
import { at, control, createdAt } from "./columns.ts";
import type { routes } from "./routes.ts";
import type { services } from "./services.ts";

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
  "node-remove",
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

/** Of kind node-remove, whose subject has no row any more. */
export interface NodeRemovalWork {
  /** Its name. */
  readonly removedNode: string;
  /** Above all that was published of it. */
  readonly revision: number;
}

export type OperationWork = LaneDrainWork | MoveWork | DrainWork | ChangeWork | FillWork | NodeRemovalWork;

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
    /** When the sweep last sent a message for it, and how often since somebody took it: src/provisioner/remind.ts. */
    remindedAt: at("reminded_at"),
    reminders: integer("reminders").notNull().default(0),
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
