import type { Clock } from "../../shared/clock.ts";
import { newId } from "../../shared/ids.ts";
import { problem, problemResponse, type ErrorCode } from "../../shared/problem.ts";
import type { Attempts } from "./attempts.ts";
import type { AdmissionRpc } from "./admission.ts";
import type { ClaimedIdentity } from "./identity.ts";

/** What the relay's HTTP endpoints need of their host. */
export interface EndpointPorts {
  /** The lane that answers for a tenant; null: there is no such tenant; "unreachable": nobody can say just now. */
  readonly laneOf: (identity: ClaimedIdentity) => Promise<AdmissionRpc | null | "unreachable">;
  /** The caller's address as the platform in front gives it; null: callers are on this machine. */
  readonly clientAddress: string | null;
  readonly failedTokens: Attempts;
  readonly pairAttempts: Attempts;
  readonly now: Clock;
  /** Name and version. */
  readonly software: string;
  readonly warn: (message: string, fields: Record<string, string | null>) => void;
}

export function refusal(code: ErrorCode, detail: string, headers: Record<string, string> = {}): Response {
  return problemResponse(problem(code, detail, newId("req")), headers);
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  const fixed = { "content-type": "application/json", "cache-control": "no-store" };
  return new Response(JSON.stringify(body), { status, headers: { ...fixed, ...headers } });
}

/** Null: the body is longer. */
export async function boundedText(request: Request, maxBytes: number): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** The same words for every address, so that nobody learns which tenants there are. */
export function tooMany(waitMs: number): Response {
  const retryAfter = String(Math.max(1, Math.ceil(waitMs / 1_000)));
  return refusal("rate-limited", "Too many tries from this address. Wait, then try again.", {
    "retry-after": retryAfter,
  });
}
