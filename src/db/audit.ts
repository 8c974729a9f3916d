import { newId } from "../shared/ids.ts";
import type { Db } from "./client.ts";
import { auditEvents } from "./schema.ts";

export interface AuditEvent {
  /** `token:<id>`, `account:<id>` (a person at the portal) or `system:<worker>`. */
  readonly actor: string;
  /** For example tenant.create. */
  readonly action: string;
  readonly subjectId: string;
  readonly tenantId: string | null;
  readonly requestId: string | null;
  /** No secrets. */
  readonly details: Record<string, unknown>;
}

/** In the transaction of what it records: neither is there without the other. */
export async function recordAudit(tx: Db, event: AuditEvent, now: Date): Promise<void> {
  await tx.insert(auditEvents).values({ id: newId("evt"), at: now, ...event });
}
