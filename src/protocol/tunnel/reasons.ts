import type { ResetReason } from "./types.ts";

/** One byte on the wire for each reason. Numbers are never reused. "session-lost" has none: it is known without a frame. */
const CODES = {
  cancelled: 1,
  "deadline-exceeded": 2,
  stalled: 3,
  overload: 4,
  "refused-before-start": 5,
  "unknown-target": 6,
  protocol: 7,
  internal: 8,
  "body-too-large": 9,
  "target-refused": 16,
  "target-unresolved": 17,
  "target-timeout": 18,
  "target-tls": 19,
  "target-reset": 20,
} as const satisfies Record<Exclude<ResetReason, "session-lost">, number>;

export type WireResetReason = keyof typeof CODES;

const isReason = (text: string): text is WireResetReason => Object.hasOwn(CODES, text);
const REASONS = new Map(
  Object.keys(CODES)
    .filter(isReason)
    .map((reason) => [CODES[reason] as number, reason]),
);

export const resetCode = (reason: WireResetReason): number => CODES[reason];

/** A code that a newer peer may know and we don't is "internal": the stream has ended either way. */
export const resetReason = (code: number): WireResetReason => REASONS.get(code) ?? "internal";
