import type { Result } from "../../shared/result.ts";
import type { TenantRecord } from "../store.ts";

/** One tenant of this node: what is durable about it (`record`), and what only the running agent knows. */
export interface Tenant {
  record: TenantRecord;
  /** Whether the disk has `record`; false when it could not be written. */
  isKept: boolean;
  /** Ends the attempt under way when something newer comes. */
  attempt: AbortController;
  /** Attempts of one tenant run one after another. */
  chain: Promise<void>;
  /** Hash of the unit that Envoy has of `record.good`. */
  goodHash: string | null;
  /** Whoever waits for Envoy's answer to the unit with this hash. */
  waiting: { readonly hash: string; readonly settle: (outcome: Result<null, string>) => void } | null;
  /** Whoever waits for Envoy to have dropped it. */
  onGone: (() => void) | null;
}

export const newTenant = (record: TenantRecord): Tenant => ({
  record,
  isKept: true,
  attempt: new AbortController(),
  chain: Promise.resolve(),
  goodHash: null,
  waiting: null,
  onGone: null,
});
