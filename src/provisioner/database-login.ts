import { and, eq } from "drizzle-orm";
import { z } from "zod";
import type { Db } from "../db/client.ts";
import { tenantSchemaName } from "../db/identifiers.ts";
import { credentials } from "../db/schema.ts";
import { newSecret, open, seal } from "../db/secrets.ts";
import type { SealingKey } from "../db/secrets.ts";
import { newId } from "../shared/ids.ts";

/** How a tenant's services log in to its database. Never log it. */
export interface TenantLogin {
  readonly role: string;
  readonly password: string;
}

type Kind = (typeof credentials.$inferSelect)["kind"];

const storedLogin = z.object({ role: z.string(), password: z.string() });
const contextOf = (tenantId: string): string => `${tenantId}/database`;

/** The login that services get; the tenant's own role with a new password, stored encrypted, when there is none. In a transaction. */
export async function databaseLogin(tx: Db, key: SealingKey, tenantId: string): Promise<TenantLogin> {
  return await ensureLogin(tx, key, tenantId, "database", tenantSchemaName(tenantId));
}

/** The login that comes next, under a name that no login had before: a run that is late can then neither end nor revive another one. */
export async function nextLogin(tx: Db, key: SealingKey, tenantId: string): Promise<TenantLogin> {
  return await ensureLogin(
    tx,
    key,
    tenantId,
    "database-next",
    `${tenantSchemaName(tenantId)}_${newId("req").slice(4, 16)}`,
  );
}

/** Null: there is none of this kind. */
export async function readLogin(tx: Db, key: SealingKey, tenantId: string, kind: Kind): Promise<TenantLogin | null> {
  const [row] = await tx
    .select({ sealed: credentials.sealed })
    .from(credentials)
    .where(and(eq(credentials.tenantId, tenantId), eq(credentials.kind, kind)));
  if (row === undefined) return null;
  const opened = await open(key, row.sealed, contextOf(tenantId));
  if (opened === null) throw new Error("a stored credential can't be opened: was CREDENTIAL_KEY changed?");
  // The first login of a tenant is stored as its password alone.
  return opened.startsWith("{")
    ? storedLogin.parse(JSON.parse(opened))
    : { role: tenantSchemaName(tenantId), password: opened };
}

async function ensureLogin(tx: Db, key: SealingKey, tenantId: string, kind: Kind, role: string): Promise<TenantLogin> {
  const stored = await readLogin(tx, key, tenantId, kind);
  if (stored !== null) return stored;
  const password = newSecret();
  const text = role === tenantSchemaName(tenantId) ? password : JSON.stringify({ role, password });
  // Whoever comes first decides; the others read what it stored.
  await tx
    .insert(credentials)
    .values({ tenantId, kind, sealed: await seal(key, text, contextOf(tenantId)) })
    .onConflictDoNothing();
  const login = await readLogin(tx, key, tenantId, kind);
  if (login === null) throw new Error("a login just stored is not there");
  return login;
}
