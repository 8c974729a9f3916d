import type { FromAgent } from "../../protocol/node-channel.ts";
import type { Logger } from "../../shared/log.ts";
import { LIMITS } from "../limits.ts";
import type { AgentStore, TenantRecord } from "../store.ts";
import type { Tenant } from "./tenant.ts";

/** How each tenant stands: on disk first, then told to the channel. */
export interface Ledger {
  save(tenant: Tenant, change: Partial<TenantRecord>): Promise<void>;
  /** Tells the channel how the tenant stands, if that is settled. */
  tell(tenant: Tenant): void;
  /**
   * Says how the newest revision stands; nothing once the attempt is out of date, for then the newest is another one. `also`: what is saved
   * with it.
   */
  settle(
    tenant: Tenant,
    signal: AbortSignal,
    state: "accepted" | "live" | "rejected",
    reason?: string | null,
    also?: Partial<TenantRecord>,
  ): Promise<void>;
}

export function createLedger(store: AgentStore, report: (message: FromAgent) => void, log: Logger): Ledger {
  const save = async (tenant: Tenant, change: Partial<TenantRecord>): Promise<void> => {
    tenant.record = { ...tenant.record, ...change };
    try {
      await store.saveTenant(tenant.record);
      tenant.isKept = true;
    } catch (error) {
      tenant.isKept = false;
      throw error;
    }
  };

  const tell = ({ record }: Tenant): void => {
    const { tenantId, revision, state, reason } = record;
    if (state === "gone") report({ type: "removed", tenantId, revision });
    else if (state === "accepted" || state === "live" || state === "rejected") {
      report({ type: "report", tenantId, revision, state, reason });
    }
  };

  return {
    save,
    tell,
    async settle(tenant, signal, state, reason = null, also = {}) {
      if (signal.aborted) return;
      const short = reason === null ? null : reason.slice(0, LIMITS.reasonChars);
      const { tenantId, revision } = tenant.record;
      if (state === "rejected" && tenant.record.state === state && tenant.record.reason === short) return; // said before
      if (state === "rejected") log.warn("tenant revision rejected", { tenantId, revision, reason: short });
      else log.info(`tenant revision ${state}`, { tenantId, revision });
      const saved = save(tenant, { ...also, state, reason: short });
      // What is served is on disk since it was accepted; an agent that does not know that it was seen looks again.
      if (state === "live") tell(tenant);
      await saved;
      if (state !== "live") tell(tenant);
    },
  };
}
