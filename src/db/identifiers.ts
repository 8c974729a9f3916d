import { isId } from "../shared/ids.ts";

/**
 * Name of a tenant's schema and of its role (roles are server-wide): the tenant's id, never its slug. Letters, digits and underscore only and
 * 24 characters long, so it needs no escaping and stays far below PostgreSQL's 63. Throws on anything else: that would be a bug or an attack.
 */
export function tenantSchemaName(tenantId: string): string {
  if (!isId("ten", tenantId)) throw new Error("not a tenant id");
  return tenantId;
}

/**
 * The group of a cluster database's tenant roles; it holds their right to connect. Granting that to each role would make two creations at once
 * update the same row of the catalogue, which PostgreSQL refuses to one of them.
 */
export const tenantGroupName = (database: string): string => `tenants_of_${database}`;

/** An identifier in double quotes. Only for names that we made: lower-case letters, digits, underscore; anything else throws. */
export function quoteIdentifier(name: string): string {
  if (!/^[a-z][a-z0-9_]{0,62}$/.test(name)) throw new Error("not a safe identifier");
  return `"${name}"`;
}

/** A string literal without escapes. Only for values from a safe alphabet (verifiers, ids, slugs); anything else throws. */
export function quoteLiteral(value: string): string {
  if (!/^[A-Za-z0-9+/=$:@_.\- ]{1,256}$/.test(value)) throw new Error("not a safe literal");
  return `'${value}'`;
}
