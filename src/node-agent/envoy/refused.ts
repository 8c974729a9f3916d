import { LIMITS } from "../limits.ts";

/**
 * Requests that Envoy has refused since it started because they came without a good proof: not from the edge, or signed by a key that was not
 * published. Null: its admin interface does not answer.
 */
export async function countRefused(adminUrl: string): Promise<number | null> {
  try {
    const signal = AbortSignal.timeout(LIMITS.probeTimeoutMs);
    const answer = await fetch(`${adminUrl}/stats?filter=jwt_authn\\.denied$`, { signal });
    if (!answer.ok) return null;
    const counters = [...(await answer.text()).matchAll(/jwt_authn\.denied: ([0-9]+)$/gm)];
    return counters.reduce((sum, [, count]) => sum + Number(count), 0);
  } catch {
    return null;
  }
}
