import type { ResetReason } from "../../protocol/tunnel/session.ts";
import type { ErrorCode } from "../../shared/problem.ts";
import { RETRY_AFTER_SECONDS } from "../limits.ts";

/** Why a lane has no answer of the target, or not all of it. */
export interface LaneFailure {
  readonly code: ErrorCode;
  /** For the visitor: one sentence, naming the target. */
  readonly detail: string;
  /** Nothing was started and the other lane may do better. Never for a limit or right of the tenant, which holds at both. */
  readonly tryElsewhere: boolean;
  /** For Retry-After; null: waiting does not help. */
  readonly retryAfterSeconds: number | null;
}

interface Ending {
  readonly code: ErrorCode;
  readonly what: (target: string) => string;
  /** True: provably nothing was handed on. */
  readonly unstarted: boolean;
}

const ending = (code: ErrorCode, what: Ending["what"], unstarted = false): Ending => ({ code, what, unstarted });
const brokeOff = ending("target-reset", (target) => `The target "${target}" closed the connection before it answered`);
const tooLate = ending("target-timeout", (target) => `The target "${target}" did not answer in time`);

/** Public codes of streams that ended before their end (docs/protocol.md, "Streams"). */
const ENDINGS: Record<ResetReason, Ending> = {
  "refused-before-start": ending("over-capacity", (target) => `No connector took the request for "${target}"`, true),
  "unknown-target": ending("unknown-target", (target) => `No connector serves the target "${target}"`, true),
  overload: ending("over-capacity", (target) => `The connector of "${target}" is at its limit`),
  "deadline-exceeded": ending("deadline-exceeded", (target) => `The time for the answer of "${target}" was over`),
  stalled: tooLate,
  "target-timeout": tooLate,
  "target-refused": ending("target-refused", (target) => `The target "${target}" refused the connection`),
  "target-unresolved": ending(
    "target-unresolved",
    (target) => `The name of the target "${target}" could not be resolved`,
  ),
  "target-tls": ending("target-tls", (target) => `The TLS connection to the target "${target}" failed`),
  "target-reset": brokeOff,
  cancelled: brokeOff,
  protocol: brokeOff,
  "body-too-large": ending("body-too-large", (target) => `The target "${target}" does not take a body of this size`),
  "session-lost": ending(
    "connector-lost",
    (target) => `The connector of "${target}" went away while it worked on the request`,
  ),
  internal: ending("internal-error", (target) => `The connector of "${target}" failed`),
};

/** May be over in a moment. */
const PASSING: ReadonlySet<ErrorCode> = new Set(["no-connector", "over-capacity", "not-available"]);

const inBrackets = (text: string): string => (text === "" ? "" : ` (${text})`);

/** Something that the relay itself says no to, before anything was started. */
export const refusal = (code: ErrorCode, detail: string): LaneFailure => ({
  code,
  detail,
  tryElsewhere: PASSING.has(code) || code === "unknown-target",
  retryAfterSeconds: PASSING.has(code) ? RETRY_AFTER_SECONDS : null,
});

/** A limit or right of the tenant, the same at both lanes. */
export const finalRefusal = (
  code: ErrorCode,
  detail: string,
  retryAfterSeconds: number | null = null,
): LaneFailure => ({ code, detail, tryElsewhere: false, retryAfterSeconds });

/** The stream ended before a head. `text` is what the one that ended it said. */
export function failureOf(reason: ResetReason, target: string, text: string): LaneFailure {
  const { code, what, unstarted } = ENDINGS[reason];
  return {
    code,
    detail: `${what(target)}${inBrackets(text)}.`,
    tryElsewhere: unstarted,
    retryAfterSeconds: PASSING.has(code) ? RETRY_AFTER_SECONDS : null,
  };
}

/** The same at both lanes, and said by the edge too as soon as it knows. */
export const tenantSuspended = (): LaneFailure =>
  finalRefusal("tenant-suspended", "This tenant is suspended. Its operator knows why.");

/** The lane itself is about to go, with what is still open: who was cut off may connect again at once. */
export const laneReplaced = (target: string): LaneFailure => ({
  code: "not-available",
  detail: `The answer of "${target}" broke off: this lane of the relay is being replaced.`,
  tryElsewhere: false,
  retryAfterSeconds: null,
});

/** RFC 6455, section 7.4.1, and the registry's 1012 (service restart) and 1013 (try again later). */
const SOCKET_CLOSES: { readonly [code in ErrorCode]?: { readonly code: number; readonly reason: string } } = {
  "over-capacity": { code: 1013, reason: "the target does not read this fast" },
  // As the edge ends those that it watches: by a rule.
  "tenant-suspended": { code: 1008, reason: "tenant-suspended" },
  "not-available": { code: 1012, reason: "the relay is being replaced, connect again" },
};

/** How a visitor's WebSocket is closed when its call broke off. */
export const socketClose = ({ code }: Pick<LaneFailure, "code">): { readonly code: number; readonly reason: string } =>
  SOCKET_CLOSES[code] ?? { code: 1011, reason: code };

/** The answer had begun and breaks off: nothing can be tried again, and there may be nobody to tell but the log. */
export const brokenOff = (reason: ResetReason, target: string, text: string): LaneFailure => ({
  code: ENDINGS[reason].code,
  detail: `The answer of "${target}" broke off: ${reason}${inBrackets(text)}.`,
  tryElsewhere: false,
  retryAfterSeconds: null,
});
