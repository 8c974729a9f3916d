import { z } from "zod";
import type { CallAnswer, JobAuth } from "../../protocol/jobs.ts";
import { JOB_TOKEN_LIFETIME_MS, JOB_TOKEN_MARGIN_MS } from "../limits.ts";
import { base64 } from "./base64.ts";

/** A request for an access token by client credentials (RFC 6749, section 4.4), the client named as in section 2.3.1. */
export function tokenRequest(auth: JobAuth, secret: string): { headers: [string, string][]; body: string } {
  const form = new URLSearchParams({ grant_type: "client_credentials" });
  if (auth.scope !== "") form.set("scope", auth.scope);
  const client = `${formEncoded(auth.clientId)}:${formEncoded(secret)}`;
  return {
    headers: [
      ["authorization", `Basic ${base64(new TextEncoder().encode(client))}`],
      ["content-type", "application/x-www-form-urlencoded"],
      ["accept", "application/json"],
    ],
    body: form.toString(),
  };
}

const formEncoded = (text: string): string => new URLSearchParams({ x: text }).toString().slice(2);

export interface AccessToken {
  readonly value: string;
  /** From then on a new one is fetched. */
  readonly renewAtMs: number;
}

const tokenAnswer = z.object({
  access_token: z.string().min(1).max(16_384),
  token_type: z.string().regex(/^bearer$/i),
  expires_in: z.coerce.number().positive().optional(),
});

/** Null: it is no token that we can use. */
export function readToken(answer: CallAnswer, nowMs: number): AccessToken | null {
  let json: unknown;
  try {
    json = JSON.parse(answer.body);
  } catch {
    return null;
  }
  const parsed = tokenAnswer.safeParse(json);
  if (!parsed.success || /[^\x21-\x7e]/.test(parsed.data.access_token)) return null;
  const { access_token: value, expires_in: seconds } = parsed.data;
  const lifetimeMs = seconds === undefined ? JOB_TOKEN_LIFETIME_MS : seconds * 1_000;
  // A short-lived one is used for half of its life at least.
  return { value, renewAtMs: nowMs + Math.max(lifetimeMs - JOB_TOKEN_MARGIN_MS, lifetimeMs / 2) };
}
