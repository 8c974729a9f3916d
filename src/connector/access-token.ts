import { z } from "zod";
import { err, ok, type Result } from "../shared/result.ts";
import { retryAfterMs } from "./backoff.ts";
import { lossOfRefusal, type LinkLoss } from "./ending.ts";
import { call, type Way } from "./http-call.ts";

export interface AccessToken {
  readonly token: string;
  /** By our own clock. Null: the issuer does not say. */
  readonly expiresAtMs: number | null;
}

export type ClientAuth =
  /** client_secret_basic (RFC 6749, section 2.3.1). */
  | { readonly kind: "secret"; readonly secret: string }
  /** private_key_jwt (RFC 7523). */
  | { readonly kind: "assertion"; readonly assertion: () => Promise<string> };

export interface TokenRequest {
  readonly endpoint: URL;
  readonly clientId: string;
  readonly auth: ClientAuth;
  readonly audience: string | null;
  readonly scope: string | null;
  /** Who is asked, for messages: "the relay", "the issuer https://...". */
  readonly who: string;
}

const tokenAnswer = z.object({
  access_token: z.string().min(1).max(8192),
  token_type: z.string().regex(/^bearer$/i),
  expires_in: z.number().positive().optional(),
});
const errorAnswer = z.object({
  error: z.string().max(100),
  error_description: z.string().max(500).optional(),
});

/** These say that this client will never get one (RFC 6749, section 5.2). */
const FINAL = new Set([
  "invalid_client",
  "unauthorized_client",
  "invalid_grant",
  "access_denied",
  "invalid_request",
  "unsupported_grant_type",
  "invalid_scope",
  "invalid_target",
]);

/** Client credentials (RFC 6749, section 4.4). */
export async function requestToken(
  asked: TokenRequest,
  way: Way,
  now: () => number,
): Promise<Result<AccessToken, LinkLoss>> {
  const form = new URLSearchParams({ grant_type: "client_credentials" });
  if (asked.audience !== null) form.set("audience", asked.audience);
  if (asked.scope !== null) form.set("scope", asked.scope);
  const headers: Record<string, string> = { "content-type": "application/x-www-form-urlencoded" };
  if (asked.auth.kind === "secret") {
    const pair = `${encodeURIComponent(asked.clientId)}:${encodeURIComponent(asked.auth.secret)}`;
    headers["authorization"] = `Basic ${Buffer.from(pair).toString("base64")}`;
  } else {
    form.set("client_id", asked.clientId);
    form.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    form.set("client_assertion", await asked.auth.assertion());
  }
  const askedMs = now();
  const answer = await call({ url: asked.endpoint, method: "POST", headers, body: form.toString() }, way);
  if (!answer.ok) return answer;
  const { status, json } = answer.value;
  const token = tokenAnswer.safeParse(json);
  if (status === 200 && token.success) {
    const { access_token, expires_in } = token.data;
    return ok({ token: access_token, expiresAtMs: expires_in === undefined ? null : askedMs + expires_in * 1000 });
  }
  return err(refusalOf(asked.who, answer.value, now()));
}

function refusalOf(
  who: string,
  answer: { status: number; json: unknown; headers: Readonly<Record<string, string | undefined>> },
  nowMs: number,
): LinkLoss {
  const { status, json, headers } = answer;
  const said = errorAnswer.safeParse(json);
  const date = Date.parse(headers["date"] ?? "");
  const reason = said.success ? said.data.error : "";
  const detail = said.success ? [reason, said.data.error_description].filter(Boolean).join(": ") : "";
  const wait = retryAfterMs(headers["retry-after"], nowMs);
  // A 403 without an OAuth error is rather a filter on the way than a verdict on the secret.
  if (!FINAL.has(reason) && status !== 401) {
    const says = detail === "" ? `status ${status}` : `${detail} (status ${status})`;
    return { kind: "retry", text: `${who} gave no token: ${says}`, retryAfterMs: wait };
  }
  const clockDifferenceMs = Number.isNaN(date) ? null : date - nowMs;
  const { text } = lossOfRefusal({ status: 401, retryAfterMs: wait, detail, clockDifferenceMs });
  return { kind: "auth", text: text.replace("the relay", who) };
}
