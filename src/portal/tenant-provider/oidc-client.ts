import { createLocalJWKSet, jwtVerify } from "jose";
import { z } from "zod";
import { isFetchableUrl } from "../../policy/issuer-url.ts";
import { base64Url, sha256 } from "../encoding.ts";
import { LIMITS } from "../limits.ts";

/**
 * As much of OpenID Connect as asking one provider who somebody is needs: discovery, the code flow with PKCE, state and nonce, the ID token's
 * signature and claims. A provider is a tenant's choice, so nothing that it answers is believed beyond who its own people are.
 */
export interface ProviderClient {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
}

export interface Begun {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

const endpoint = z.string().max(2_000).refine(isFetchableUrl);
const discovery = z.object({
  issuer: z.string(),
  authorization_endpoint: endpoint,
  token_endpoint: endpoint,
  jwks_uri: endpoint,
  userinfo_endpoint: endpoint.optional(),
});
const keySet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(50) });
const tokens = z.object({ id_token: z.string().max(20_000), access_token: z.string().max(20_000).optional() });
const proven = z.object({ sub: z.string().min(1), nonce: z.string() });
const address = z.object({ sub: z.string(), email: z.email().max(254), email_verified: z.literal(true) });

/** Where to send the browser. Rejects when the provider can't be asked. */
export async function authorizationUrl(
  { issuer, clientId }: ProviderClient,
  { state, nonce, verifier }: Begun,
  redirectUri: string,
  loginHint: string,
  fetcher: typeof fetch,
): Promise<string> {
  const url = new URL((await describe(issuer, fetcher)).authorization_endpoint);
  const query = {
    response_type: "code",
    client_id: clientId,
    redirect_uri: redirectUri,
    scope: "openid email",
    state,
    nonce,
    code_challenge: base64Url(await sha256(verifier)),
    code_challenge_method: "S256",
    login_hint: loginHint,
  };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url.toString();
}

/** The address that the provider has verified of whoever brought the code, lower case. Rejects when it says otherwise, or nothing that holds. */
export async function verifiedEmail(
  { issuer, clientId, clientSecret }: ProviderClient,
  code: string,
  { nonce, verifier }: Begun,
  redirectUri: string,
  fetcher: typeof fetch,
): Promise<string> {
  const provider = await describe(issuer, fetcher);
  const body = new URLSearchParams({
    grant_type: "authorization_code",
    code,
    redirect_uri: redirectUri,
    code_verifier: verifier,
  });
  // RFC 6749, section 2.3.1: both parts are form-encoded first.
  const basic = btoa(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`);
  const headers = { "content-type": "application/x-www-form-urlencoded", authorization: `Basic ${basic}` };
  const { id_token: idToken, access_token: accessToken } = tokens.parse(
    await ask(fetcher, provider.token_endpoint, { method: "POST", headers, body }),
  );
  const keys = createLocalJWKSet(keySet.parse(await ask(fetcher, provider.jwks_uri)));
  // No `none`, and no HMAC with what may be public.
  const algorithms = ["RS256", "PS256", "ES256", "EdDSA"];
  const { payload } = await jwtVerify(idToken, keys, {
    issuer,
    audience: clientId,
    algorithms,
    requiredClaims: ["exp"],
  });
  const { sub, nonce: saidNonce } = proven.parse(payload);
  if (saidNonce !== nonce) throw new Error("the ID token is of another sign-in");
  // Many providers tell the address by UserInfo alone (OpenID Connect Core, section 5.4).
  const source =
    payload["email"] === undefined && provider.userinfo_endpoint !== undefined && accessToken !== undefined
      ? await ask(fetcher, provider.userinfo_endpoint, { headers: { authorization: `Bearer ${accessToken}` } })
      : payload;
  const said = address.parse(source);
  if (said.sub !== sub) throw new Error("UserInfo is of somebody else");
  return said.email.toLowerCase();
}

async function describe(issuer: string, fetcher: typeof fetch): Promise<z.infer<typeof discovery>> {
  const found = discovery.parse(await ask(fetcher, `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`));
  if (found.issuer !== issuer) throw new Error("the provider names another issuer");
  return found;
}

/** A short JSON answer, without redirects: they would lead where nobody has looked. */
async function ask(fetcher: typeof fetch, url: string, init: RequestInit = {}): Promise<unknown> {
  const signal = AbortSignal.timeout(LIMITS.providerTimeoutMs);
  const answer = await fetcher(url, { ...init, redirect: "manual", signal });
  if (!answer.ok || Number(answer.headers.get("content-length") ?? 0) > LIMITS.providerBytes) {
    await answer.body?.cancel();
    throw new Error(`the provider answered ${answer.status}`);
  }
  const text = await answer.text();
  if (text.length > LIMITS.providerBytes) throw new Error("the provider's answer is too long");
  return JSON.parse(text);
}
