import type { z } from "@hono/zod-openapi";
import type { Db } from "../db/client.ts";
import { enqueueOperation } from "../db/operations.ts";
import type { Enqueued } from "../db/operations.ts";
import { connectorKeys, connectors } from "../db/schema.ts";
import type { PublicJwk } from "../protocol/jwk.ts";
import { newId } from "../shared/ids.ts";
import { makeSecret, type newSecretBody, type shownSecret } from "./new-secret.ts";

export interface NewConnector {
  readonly tenantId: string;
  readonly name: string;
  readonly targets: string[] | null;
  readonly key: PublicJwk | undefined;
  readonly secret: z.output<typeof newSecretBody> | undefined;
  readonly issuerSubject?: string | null;
  readonly readOnly?: boolean;
  readonly expiresAt?: Date | null;
}

/** Writes a connector with its first credentials, and the operation that tells both lanes. */
export async function insertConnector(
  tx: Db,
  { key, secret, ...columns }: NewConnector,
  now: Date,
): Promise<{
  row: typeof connectors.$inferSelect;
  operation: Enqueued;
  secret: z.input<typeof shownSecret> | null;
}> {
  const id = newId("con");
  const [row] = await tx
    .insert(connectors)
    .values({ id, ...columns, createdAt: now, updatedAt: now })
    .returning();
  if (row === undefined) throw new Error("no row came back");
  if (key !== undefined)
    await tx
      .insert(connectorKeys)
      .values({ id: newId("key"), connectorId: id, kid: key.kid, publicKey: key, createdAt: now });
  const made = secret === undefined ? null : await makeSecret(tx, id, secret, now);
  const wanted = { kind: "connector-publish", subjectId: id, tenantId: row.tenantId, now } as const;
  return { row, operation: await enqueueOperation(tx, wanted), secret: made };
}
