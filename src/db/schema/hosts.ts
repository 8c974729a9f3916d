import { sql } from "drizzle-orm";
import { check, index, jsonb, primaryKey, text } from "drizzle-orm/pg-core";
import type { DnsRecord } from "../../policy/custom-host.ts";
import { at, control, createdAt } from "./columns.ts";
import { tenantId } from "./tenants.ts";

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
