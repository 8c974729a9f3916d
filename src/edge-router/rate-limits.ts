import { fullBucket, take, type Bucket } from "../policy/token-bucket.ts";
import type { TrafficLimits } from "../policy/edge-policy.ts";
import type { Clock } from "../shared/clock.ts";
import { LIMITS } from "./limits.ts";
import { createLru, type Lru } from "./lru.ts";

/**
 * Rates of tenants and visitors, counted in this isolate alone: no request waits for a place that counts for all. A flood comes from one part
 * of the world at a time, so isolates see most of it; an exact account they can't give.
 */
export interface RateLimits {
  /**
   * Counts a request. 0: it may go on; otherwise the milliseconds until the next one may. `scope`: the tenant, or one of its routes.
   */
  admit(scope: string, visitor: string, limits: TrafficLimits): number;
  /** Counts a try at the visitor password, by visitor and over the whole tenant. */
  admitTry(tenantId: string, visitor: string): number;
}

export function createRateLimits(now: Clock): RateLimits {
  const tenants = createLru<Bucket>(LIMITS.cachedTenantRates);
  const visitors = createLru<Bucket>(LIMITS.cachedVisitorRates);

  function taken(buckets: Lru<Bucket>, key: string, capacity: number, perMs: number): number {
    const nowMs = now();
    let bucket = buckets.get(key);
    if (bucket === undefined) buckets.set(key, (bucket = fullBucket(capacity, nowMs)));
    return take(bucket, capacity, perMs, nowMs);
  }

  return {
    admit(scope, visitor, { requestsPerSecond, visitorPerMinute }) {
      // The visitor first: one who asks too much must not use up what is all others'.
      if (visitorPerMinute !== undefined) {
        const waitMs = taken(visitors, `${scope} ${visitor}`, visitorPerMinute, visitorPerMinute / 60_000);
        if (waitMs > 0) return waitMs;
      }
      if (requestsPerSecond === undefined) return 0;
      return taken(tenants, scope, requestsPerSecond, requestsPerSecond / 1_000);
    },
    admitTry(tenantId, visitor) {
      const { passwordTriesPerMinute: own, passwordTriesPerMinuteAndTenant: all } = LIMITS;
      const waitMs = taken(visitors, `password ${tenantId} ${visitor}`, own, own / 60_000);
      return waitMs > 0 ? waitMs : taken(tenants, `password ${tenantId}`, all, all / 60_000);
    },
  };
}
