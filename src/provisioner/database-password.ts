import { and, eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { credentials } from "../db/schema.ts";
import { newSecret, open, seal } from "../db/secrets.ts";
import type { SealingKey } from "../db/secrets.ts";

/** The password of a tenant's database role; made and stored, encrypted, when there is none. In a transaction. Never log it. */
export async function databasePassword(tx: Db, key: SealingKey, tenantId: string): Promise<string> {
  const context = `${tenantId}/database`;
  const password = newSecret();
  // Whoever comes first decides; the others read what it stored.
  await tx
    .insert(credentials)
    .values({ tenantId, kind: "database", sealed: await seal(key, password, context) })
    .onConflictDoNothing();
  const [row] = await tx
    .select({ sealed: credentials.sealed })
    .from(credentials)
    .where(and(eq(credentials.tenantId, tenantId), eq(credentials.kind, "database")));
  const opened = row === undefined ? null : await open(key, row.sealed, context);
  if (opened === null) throw new Error("a stored credential can't be opened: was CREDENTIAL_KEY changed?");
  return opened;
}
