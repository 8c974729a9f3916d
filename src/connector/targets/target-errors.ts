import type { ResetReason } from "../../protocol/tunnel/session.ts";
import type { NetworkFault } from "../network-errors.ts";

type TargetReason = Extract<ResetReason, `target-${string}`>;

const REASONS: Readonly<Record<NetworkFault, { reason: TargetReason; words: string }>> = {
  unresolved: { reason: "target-unresolved", words: "its name could not be resolved" },
  refused: { reason: "target-refused", words: "it refused the connection or could not be reached" },
  timeout: { reason: "target-timeout", words: "it did not answer in time" },
  tls: { reason: "target-tls", words: "the TLS connection to it failed" },
  reset: { reason: "target-reset", words: "it closed the connection early or did not speak HTTP" },
};

/** What the visitor is told: the target's name and what failed, but no address of the site's network. */
export function targetReset(target: string, fault: NetworkFault): { reason: TargetReason; text: string } {
  const { reason, words } = REASONS[fault];
  return { reason, text: `target "${target}": ${words}` };
}
