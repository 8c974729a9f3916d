import { asc, eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import type { Enqueued } from "../db/operations.ts";
import { operations, operationSteps } from "../db/schema.ts";
import { viewOperation } from "./views.ts";
import type { OperationView } from "./views.ts";

export async function findOperation(db: Db, id: string): Promise<OperationView | null> {
  const [[operation], steps] = await Promise.all([
    db.select().from(operations).where(eq(operations.id, id)),
    db.select().from(operationSteps).where(eq(operationSteps.operationId, id)).orderBy(asc(operationSteps.position)),
  ]);
  return operation === undefined ? null : viewOperation({ operation, steps });
}

/** An operation that this transaction has written. */
export async function shownOperation(tx: Db, { operationId }: Enqueued): Promise<OperationView> {
  const view = await findOperation(tx, operationId);
  if (view === null) throw new Error("an operation just written is not there");
  return view;
}

export const operationLocation = ({ operationId }: Enqueued): string => `/api/v1/operations/${operationId}`;
