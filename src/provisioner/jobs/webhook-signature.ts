import { base64 } from "./base64.ts";

/**
 * Headers that sign a webhook by Standard Webhooks 1.0: HMAC-SHA-256 over `<id>.<timestamp>.<body>` under the job's signing key. Its secret is
 * shown as `whsec_<base64>`.
 */
export async function signWebhook(
  secret: string,
  id: string,
  nowMs: number,
  body: string,
): Promise<readonly (readonly [name: string, value: string])[]> {
  const timestamp = String(Math.floor(nowMs / 1_000));
  const raw = Uint8Array.from(atob(secret.replace(/^whsec_/, "")), (c) => c.charCodeAt(0));
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(`${id}.${timestamp}.${body}`));
  return [
    ["webhook-id", id],
    ["webhook-timestamp", timestamp],
    ["webhook-signature", `v1,${base64(new Uint8Array(mac))}`],
  ];
}
