import type { AnswerHead } from "./client-types.ts";
import { KEEP_ALIVE_MARGIN_MS, KEEP_ALIVE_MAX_MS } from "./limits.ts";
import type { ParsedHead } from "./parser.ts";

export interface CheckedAnswer {
  readonly head: AnswerHead;
  /** How long the connection may be kept: as the origin says, else `idleMs`. 0: not at all. */
  readonly keepMs: number;
}

/** What the parser leaves to us of a final answer. Null: its length can be read in two ways. */
export function checkAnswer(parsed: ParsedHead, idleMs: number): CheckedAnswer | null {
  let length: string | null = null;
  let coding: string | null = null;
  let keepMs = idleMs;
  for (const [name, value] of parsed.headers) {
    switch (name.length) {
      case 10:
        if (name.toLowerCase() === "keep-alive") keepMs = keepAliveMs(value) ?? keepMs;
        break;
      case 14:
        if (name.toLowerCase() !== "content-length") break;
        if (length !== null || !/^[0-9]{1,15}$/.test(value)) return null;
        length = value;
        break;
      case 17:
        if (name.toLowerCase() !== "transfer-encoding") break;
        if (coding !== null || value.toLowerCase() !== "chunked") return null;
        coding = value;
        break;
    }
  }
  if (coding !== null && (length !== null || parsed.version === "1.0")) return null;
  const head = { status: parsed.status, headers: parsed.headers, bodyBytes: length === null ? null : Number(length) };
  return { head, keepMs: parsed.keepAlive ? keepMs : 0 };
}

/** `timeout=5, max=100` -> 4000; null: no timeout in it. */
function keepAliveMs(value: string): number | null {
  const seconds = /(?:^|[,;\s])timeout\s*=\s*"?([0-9]{1,6})/i.exec(value)?.[1];
  if (seconds === undefined) return null;
  return Math.max(0, Math.min(KEEP_ALIVE_MAX_MS, Number(seconds) * 1000 - KEEP_ALIVE_MARGIN_MS));
}
