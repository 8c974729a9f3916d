import { sql } from "drizzle-orm";
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
} from "drizzle-orm/pg-core";

/**
 * Tables of the portal, in the PostgreSQL schema `portal`; the portal's database role sees nothing else. All but `signInCode`, `mailLink` and `consent` have the shape
 * that better-auth 1.7.0 expects (its models by export name, its fields by property name), organisation plugin included.
 */
export const portal = pgSchema("portal");

const at = (name: string) => timestamp(name, { withTimezone: true, mode: "date" });
const createdAt = () => at("created_at").notNull().defaultNow();
const updatedAt = () => at("updated_at").notNull().defaultNow();

/** An account: a person. Belongs to any number of tenants. */
export const user = portal.table("user", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  email: text("email").notNull().unique(),
  emailVerified: boolean("email_verified").notNull().default(false),
  image: text("image"),
  createdAt: createdAt(),
  updatedAt: updatedAt(),
});

/** A sign-in at the portal's own host. Sessions on tenant hosts are signed tokens and have no row. */
export const session = portal.table(
  "session",
  {
    id: text("id").primaryKey(),
    expiresAt: at("expires_at").notNull(),
    token: text("token").notNull().unique(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
    ipAddress: text("ip_address"),
    userAgent: text("user_agent"),
    userId: text("user_id")
      .notNull()
      .references(() => user.id, { onDelete: "cascade" }),
    activeOrganizationId: text("active_organization_id"),
  },
  (table) => [index("session_user_id_idx").on(table.userId)],
);

/** A way to sign in: a password (provider `credential`) or an account at an identity provider. */
export const account = portal.table(
  "account",
  {
    id: text("id").primaryKey(),
    issuer: text("issuer").notNull(),
    accountId: text("account_id").notNull(),
    providerId: text("provider_id").notNull(),
    userId: text("user_id")
      .notNull()
      .references(() => user.id, { onDelete: "cascade" }),
    accessToken: text("access_token"),
    refreshToken: text("refresh_token"),
    idToken: text("id_token"),
    accessTokenExpiresAt: at("access_token_expires_at"),
    refreshTokenExpiresAt: at("refresh_token_expires_at"),
    scope: text("scope"),
    /** scrypt hash, made and checked by better-auth. */
    password: text("password"),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (table) => [
    uniqueIndex("account_issuer_account_id_uidx").on(table.issuer, table.accountId),
    index("account_user_id_idx").on(table.userId),
  ],
);

/** better-auth's one-time values (e-mail verification, password reset, ...). */
export const verification = portal.table(
  "verification",
  {
    id: text("id").primaryKey(),
    identifier: text("identifier").notNull(),
    value: text("value").notNull(),
    expiresAt: at("expires_at").notNull(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (table) => [index("verification_identifier_idx").on(table.identifier)],
);

/** A tenant as the portal knows it: the id is the tenant's id. */
export const organization = portal.table("organization", {
  id: text("id").primaryKey(),
  /** `slug` or `slug@cluster`, for people. */
  name: text("name").notNull(),
  /** The tenant's id again: slugs are unique per cluster only, and are free again after a tenant's deletion. */
  slug: text("slug").notNull().unique(),
  logo: text("logo"),
  metadata: text("metadata"),
  createdAt: createdAt(),
});

export const member = portal.table(
  "member",
  {
    id: text("id").primaryKey(),
    organizationId: text("organization_id")
      .notNull()
      .references(() => organization.id, { onDelete: "cascade" }),
    userId: text("user_id")
      .notNull()
      .references(() => user.id, { onDelete: "cascade" }),
    role: text("role").notNull().default("member"),
    createdAt: createdAt(),
  },
  (table) => [
    uniqueIndex("member_organization_id_user_id_uidx").on(table.organizationId, table.userId),
    index("member_user_id_idx").on(table.userId),
    check("member_role_is_known", sql`${table.role} in ('owner', 'admin', 'member', 'viewer')`),
  ],
);

export const invitation = portal.table(
  "invitation",
  {
    id: text("id").primaryKey(),
    organizationId: text("organization_id")
      .notNull()
      .references(() => organization.id, { onDelete: "cascade" }),
    email: text("email").notNull(),
    role: text("role"),
    status: text("status").notNull().default("pending"),
    expiresAt: at("expires_at").notNull(),
    createdAt: createdAt(),
    /** Null for invitations by operators, who have no account here. */
    inviterId: text("inviter_id").references(() => user.id, { onDelete: "cascade" }),
    /** SHA-256 of the mailed token, hex; null once it was used or revoked. */
    tokenHash: text("token_hash").unique(),
  },
  (table) => [
    index("invitation_email_idx").on(table.email),
    // One open invitation for an address: inviting again replaces it.
    uniqueIndex("invitation_open_uidx")
      .on(table.organizationId, table.email)
      .where(sql`${table.status} = 'pending'`),
    index("invitation_organization_id_idx").on(table.organizationId),
  ],
);

/** Attempts per address and path, so that guessing passwords is slow whichever isolate answers. Written by better-auth. */
export const rateLimit = portal.table("rate_limit", {
  id: text("id").primaryKey(),
  key: text("key").notNull().unique(),
  count: integer("count").notNull(),
  /** Milliseconds since the epoch. */
  lastRequest: bigint("last_request", { mode: "number" }).notNull(),
});

/**
 * A one-time code on its way from the portal to a tenant host. The row is deleted when it is redeemed; the code itself is never stored.
 */
export const signInCode = portal.table(
  "sign_in_code",
  {
    /** SHA-256 of the code, hex. */
    codeHash: text("code_hash").primaryKey(),
    /** The portal session that it came from; gone with it. */
    sessionId: text("session_id")
      .notNull()
      .references(() => session.id, { onDelete: "cascade" }),
    userId: text("user_id")
      .notNull()
      .references(() => user.id, { onDelete: "cascade" }),
    tenantId: text("tenant_id").notNull(),
    /** The tenant host that it was made for, lower case, no port; no other can redeem it. */
    host: text("host").notNull(),
    /** PKCE (RFC 7636), S256, base64url. */
    codeChallenge: text("code_challenge").notNull(),
    expiresAt: at("expires_at").notNull(),
    createdAt: createdAt(),
  },
  (table) => [
    index("sign_in_code_expires_at_idx").on(table.expiresAt),
    check("sign_in_code_hash_is_sha256", sql`length(${table.codeHash}) = 64`),
  ],
);

/** A link in a mail, good for one use. The row is deleted when it is used; the token itself is never stored. */
export const mailLink = portal.table(
  "mail_link",
  {
    /** SHA-256 of the token, hex. */
    tokenHash: text("token_hash").primaryKey(),
    purpose: text("purpose").notNull(),
    /** Who it was sent to, lower case: whoever brings the token reads this address's mail. */
    email: text("email").notNull(),
    /** The account that it is for; null for a sign-up, which has none yet. */
    userId: text("user_id").references(() => user.id, { onDelete: "cascade" }),
    expiresAt: at("expires_at").notNull(),
    createdAt: createdAt(),
  },
  (table) => [
    index("mail_link_expires_at_idx").on(table.expiresAt),
    index("mail_link_email_idx").on(table.email, table.purpose),
    index("mail_link_user_id_idx").on(table.userId),
    check("mail_link_hash_is_sha256", sql`length(${table.tokenHash}) = 64`),
    check("mail_link_purpose_is_known", sql`${table.purpose} in ('reset-password', 'sign-up', 'verify-address')`),
  ],
);

/** That an account lets a tenant that it is no member of know who it is. Asked for before the first session there; gone when it is taken back. */
export const consent = portal.table(
  "consent",
  {
    userId: text("user_id")
      .notNull()
      .references(() => user.id, { onDelete: "cascade" }),
    /** A tenant without members has no organisation, so this refers to none. */
    tenantId: text("tenant_id").notNull(),
    /** `slug` or `slug@cluster`, as it was shown. */
    tenantName: text("tenant_name").notNull(),
    /** The host that asked, lower case, no port. */
    host: text("host").notNull(),
    createdAt: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.userId, table.tenantId] }),
    index("consent_tenant_id_idx").on(table.tenantId),
  ],
);
