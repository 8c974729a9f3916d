import { bigserial, index, jsonb, primaryKey, text, unique } from "drizzle-orm/pg-core";
import { at, control, createdAt } from "./columns.ts";

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
