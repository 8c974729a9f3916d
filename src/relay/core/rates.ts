import type { TenantSettings } from "../../protocol/lane.ts";
import { VISITORS_MAX } from "../limits.ts";

/** How many requests a second a tenant and each of its visitors may start (P16). */
export interface Rates {
  /** Null: go on, it was counted. Else the seconds after which the next one has a chance; nothing was counted. */
  admit(limits: TenantSettings["limits"], clientAddress: string | null, nowMs: number): number | null;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Token buckets with a burst of one second's requests, at least one. */
export function createRates(): Rates {
  let tenant: Bucket | null = null;
  const visitors = new Map<string, Bucket>(); // in the order of their last request

  return {
    admit({ requestsPerSecond, requestsPerSecondPerVisitor }, clientAddress, nowMs) {
      if (requestsPerSecond === null && requestsPerSecondPerVisitor === null) return null;
      const buckets: Bucket[] = [];
      let waitSeconds = 0;
      if (requestsPerSecond !== null) {
        tenant = refilled(tenant, requestsPerSecond, nowMs);
        waitSeconds = missing(tenant, requestsPerSecond);
        buckets.push(tenant);
      }
      if (requestsPerSecondPerVisitor !== null && clientAddress !== null) {
        const key = visitorKey(clientAddress);
        const bucket = refilled(visitors.get(key) ?? null, requestsPerSecondPerVisitor, nowMs);
        visitors.delete(key);
        visitors.set(key, bucket);
        if (visitors.size > VISITORS_MAX) forgetOldest();
        waitSeconds = Math.max(waitSeconds, missing(bucket, requestsPerSecondPerVisitor));
        buckets.push(bucket);
      }
      if (waitSeconds > 0) return Math.ceil(waitSeconds);
      for (const bucket of buckets) bucket.tokens -= 1;
      return null;
    },
  };

  function forgetOldest(): void {
    for (const key of visitors.keys()) {
      visitors.delete(key);
      return;
    }
  }
}

function refilled(bucket: Bucket | null, perSecond: number, nowMs: number): Bucket {
  const burst = Math.max(1, perSecond);
  if (bucket === null) return { tokens: burst, atMs: nowMs };
  // A clock that went back refills nothing.
  const seconds = Math.max(0, nowMs - bucket.atMs) / 1_000;
  bucket.tokens = Math.min(burst, bucket.tokens + seconds * perSecond);
  bucket.atMs = nowMs;
  return bucket;
}

/** Seconds until there is a whole token. */
const missing = ({ tokens }: Bucket, perSecond: number): number => (tokens >= 1 ? 0 : (1 - tokens) / perSecond);

/** An IPv6 customer has a /64 at least, so all its addresses count as one. */
export function visitorKey(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.toLowerCase().split("::", 2);
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const rest = tail === "" ? [] : tail.split(":");
    while (groups.length + rest.length < 8) groups.push("0");
    groups.push(...rest);
  }
  // The short form of an IPv4 address in IPv6 (::ffff:1.2.3.4) is that address.
  const last = groups.at(-1) ?? "";
  if (last.includes(".")) return last;
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":");
}
