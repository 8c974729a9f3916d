import { judgeToken } from "../policy/access.ts";
import type { ServiceToken } from "../policy/edge-policy.ts";
import { SERVICE_TOKEN_PREFIX, serviceTokenIn } from "../policy/headers.ts";
import type { Visit } from "./visit.ts";

/** `none`: no service token came. `unknown`: none of this tenant's, or one that was revoked. */
export type TokenOutcome =
  | { readonly kind: "none" | "unknown" | "expired" | "forbidden" }
  | { readonly kind: "good"; readonly tokenId: string };

/** Judges the service token of a request, `Authorization: Bearer cst_...`, for routes with these prefixes. */
export async function judgeServiceToken(
  visit: Visit,
  tokens: readonly ServiceToken[],
  routePrefixes: readonly string[],
  nowSeconds: number,
): Promise<TokenOutcome> {
  const presented = serviceTokenIn(visit.request.headers.get("authorization"));
  if (presented === null) return { kind: "none" };
  if (presented.length > SERVICE_TOKEN_PREFIX.length + MAX_SECRET_LENGTH) return { kind: "unknown" };
  const hash = hexOf(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(presented)));
  // Hashes of random tokens: how long the comparison takes tells nothing that helps to find one.
  const token = tokens.find(({ sha256 }) => sha256 === hash);
  if (token === undefined) return { kind: "unknown" };
  const verdict = judgeToken(token, routePrefixes, visit.method, nowSeconds);
  visit.seen.serviceToken = token.id;
  return verdict === "good" ? { kind: "good", tokenId: token.id } : { kind: verdict };
}

/** 43 characters have 256 bits. */
const MAX_SECRET_LENGTH = 64;

const hexOf = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
