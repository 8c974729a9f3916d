import type { DnsRecord } from "../policy/custom-host.ts";
import { err, ok, type Result } from "../shared/result.ts";

/** A custom host at the provider that terminates its TLS. */
export interface Front {
  readonly id: string;
  readonly state: "pending" | "active" | "failed";
  /** What it waits for or why it failed, in the provider's words; null: nothing. */
  readonly reason: string | null;
  /** Records that the provider wants set. */
  readonly records: readonly DnsRecord[];
}

export type FrontProblem =
  | { readonly kind: "rate-limited"; readonly retryAfterMs: number; readonly reason: string }
  /** It will not work as it is asked for: rights, quota, a host that the provider does not take. */
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "away"; readonly reason: string };

/** The provider. All calls may be repeated. None rejects. */
export interface HostFront {
  /** Sets the host up where it is not yet, and says how far it is. `id`: of an earlier call. */
  ensure(host: string, id: string | null): Promise<Result<Front, FrontProblem>>;
  /** Gone afterwards, also when it never was there. */
  remove(host: string, id: string | null): Promise<Result<null, FrontProblem>>;
}

/** Where the settings are not complete: hosts say so, and nothing else is held up. What was set up before can't be forgotten about. */
export function refusingFront(reason: string): HostFront {
  const refused = err({ kind: "refused" as const, reason });
  return {
    ensure: async () => refused,
    remove: async (_host, id) => (id === null ? ok(null) : refused),
  };
}
