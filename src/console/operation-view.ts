import { eq } from "drizzle-orm";
import type { Db } from "../db/client.ts";
import { withSteps } from "../db/operations.ts";
import type { Enqueued } from "../db/operations.ts";
import { operations } from "../db/schema.ts";
import { viewOperation } from "./views.ts";
import type { OperationView } from "./views.ts";

export async function findOperation(db: Db, id: string): Promise<OperationView | null> {
  const [found] = await withSteps(db, await db.select().from(operations).where(eq(operations.id, id)));
  return found === undefined ? null : viewOperation(found);
}

/** An operation that this transaction has written. */
export async function shownOperation(tx: Db, { operationId }: Enqueued): Promise<OperationView> {
  const view = await findOperation(tx, operationId);
  if (view === null) throw new Error("an operation just written is not there");
  return view;
}

export const operationLocation = ({ operationId }: Enqueued): string => `/api/v1/operations/${operationId}`;
