import { HEADER } from "../protocol/headers.ts";
import type { ResetReason } from "../protocol/tunnel/session.ts";
import { problem, problemResponse, type ErrorCode } from "../shared/problem.ts";
import { RETRY_AFTER_SECONDS } from "./limits.ts";

/** Why a lane has no answer of the target. `started`: something of the request may have reached the target. */
export interface LaneFailure {
  readonly code: ErrorCode;
  /** For the visitor: one sentence, naming the target. */
  readonly detail: string;
  readonly started: boolean;
}

interface Ending {
  readonly code: ErrorCode;
  readonly what: (target: string) => string;
  /** False: provably nothing was handed on. */
  readonly started: boolean;
}

const ending = (code: ErrorCode, what: Ending["what"], started = true): Ending => ({ code, what, started });
const brokeOff = ending("target-reset", (target) => `The target "${target}" closed the connection before it answered`);
const tooLate = ending("target-timeout", (target) => `The target "${target}" did not answer in time`);

/** Public codes of streams that ended before the head (docs/protocol.md, "Streams"). */
const ENDINGS: Record<ResetReason, Ending> = {
  "refused-before-start": ending("over-capacity", (target) => `No connector took the request for "${target}"`, false),
  "unknown-target": ending("unknown-target", (target) => `No connector serves the target "${target}"`, false),
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

/** `text` is what the one that ended the stream said. */
export function failureOf(reason: ResetReason, target: string, text: string): LaneFailure {
  const { code, what, started } = ENDINGS[reason];
  return { code, detail: `${what(target)}${text === "" ? "" : ` (${text})`}.`, started };
}

/** May be over in a moment. */
const PASSING: ReadonlySet<ErrorCode> = new Set(["no-connector", "over-capacity", "not-available"]);

/** `causeway-refused: 1` tells the edge that it may try the other lane. */
export function failureResponse(failure: LaneFailure, requestId: string): Response {
  const headers: Record<string, string> = {};
  if (!failure.started) headers[HEADER.refused] = "1";
  if (PASSING.has(failure.code)) headers["retry-after"] = String(RETRY_AFTER_SECONDS);
  return problemResponse(problem(failure.code, failure.detail, requestId), headers);
}
