import { z } from "zod";

/**
 * Calls of the console's named entrypoint `Tenants`. Only the portal has a binding to it: for what people do with their own tenants. The portal
 * says who asks and has checked that they may; the console checks names, room and states as for operators. Invalid input is a bug and rejects.
 */
export const createOwnTenantInput = z.strictObject({
  /** Chosen by the caller, so that the same call can be repeated. */
  tenantId: z.string().min(1).max(64),
  /** As it was typed: what is wrong with it comes back as a sentence. */
  slug: z.string().max(64),
  accountId: z.string().min(1).max(64),
  requestId: z.string().min(1).max(64),
});
export type CreateOwnTenantInput = z.infer<typeof createOwnTenantInput>;

/** `detail`: a sentence for the person who asked. */
export type CreateOwnTenantResult =
  | { readonly kind: "created" }
  | { readonly kind: "refused"; readonly code: "bad-request" | "conflict" | "no-capacity"; readonly detail: string };

export const endSessionsInput = z.strictObject({
  tenantId: z.string().min(1).max(64),
  /** Whose sessions on the tenant's hosts end; null: everybody's. */
  accountId: z.string().min(1).max(64).nullable(),
  byAccountId: z.string().min(1).max(64),
  requestId: z.string().min(1).max(64),
  /** Why, for the audit. */
  reason: z.enum(["role-changed", "removed", "provider-changed"]),
});
export type EndSessionsInput = z.infer<typeof endSessionsInput>;

export interface TenantStatus {
  readonly tenantId: string;
  readonly state: "provisioning" | "active" | "suspended" | "failed" | "deleting";
  /** Its own host, lower case, no port. */
  readonly host: string | null;
  /** Where its pages begin: "/" if a route covers it, else the shortest prefix that one has. */
  readonly startPath: string;
  /** Of its creation, in order. */
  readonly steps: readonly { readonly name: string; readonly state: "pending" | "running" | "done" | "failed" }[];
}

export interface TenantsRpc {
  /** Creates a tenant in the default cluster with the catalogue's defaults. Repeated with the same id it answers `created` again. */
  create(input: CreateOwnTenantInput): Promise<CreateOwnTenantResult>;
  /** Those of the ids (at most 100) that there are. */
  show(tenantIds: readonly string[]): Promise<TenantStatus[]>;
  /** Raises `notBefore` of one account, or the access revision: sessions on the tenant's hosts are refused within 10 s. False: there is no such tenant. */
  endSessions(input: EndSessionsInput): Promise<boolean>;
}
