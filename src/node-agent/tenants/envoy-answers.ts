import type { Logger } from "../../shared/log.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import type { EnvoyFeed } from "../xds/feed.ts";
import type { PlannerEffect, TenantUnit } from "../xds/planner.ts";
import type { Tenant } from "./tenant.ts";

/** Tells Envoy, and brings its answers to whoever waits for them. */
export interface EnvoyAnswers {
  /** Envoy's answer to the unit; null when something newer came first. */
  takes(tenant: Tenant, unit: TenantUnit, signal: AbortSignal): Promise<Result<null, string> | null>;
  /** Whether Envoy has dropped the tenant; false when something newer came first. */
  drops(tenant: Tenant, signal: AbortSignal): Promise<boolean>;
  on(tenant: Tenant, effect: Exclude<PlannerEffect, { kind: "send" }>): void;
}

export function createEnvoyAnswers(feed: EnvoyFeed, log: Logger): EnvoyAnswers {
  return {
    takes(tenant, unit, signal) {
      if (signal.aborted) return Promise.resolve(null);
      if (tenant.goodHash === unit.hash) return Promise.resolve(ok(null));
      return new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve(null), { once: true });
        tenant.waiting = { hash: unit.hash, settle: resolve };
        feed.put(unit);
      });
    },
    drops: (tenant, signal) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve(false), { once: true });
        tenant.onGone = () => resolve(true);
        feed.remove(tenant.record.tenantId);
      }),
    on(tenant, effect) {
      if (effect.kind === "gone") return tenant.onGone?.();
      const { hash, revision, tenantId } = effect.unit;
      if (tenant.waiting?.hash === hash) {
        const { settle } = tenant.waiting;
        tenant.waiting = null;
        return settle(effect.kind === "accepted" ? ok(null) : err(effect.reason));
      }
      if (effect.kind === "accepted" && revision === tenant.record.good?.revision) tenant.goodHash = hash;
      if (effect.kind === "rejected")
        log.error("envoy refused a revision that it had taken before", { tenantId, reason: effect.reason });
    },
  };
}
