import { RETRY_AFTER_SECONDS, TOKEN_BODY_BYTES } from "../limits.ts";
import type { TokenRequest } from "./admission.ts";
import { boundedText, json, refusal, tooMany, type EndpointPorts } from "./http.ts";
import { claimedIdentity, parseClientId, type ClaimedIdentity } from "./identity.ts";

const JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

interface Asked {
  readonly identity: ClaimedIdentity;
  readonly proof: TokenRequest["proof"];
}

/**
 * `POST /token`: client credentials (RFC 6749, section 4.4). A client proves itself by its secret (Basic or in the form) or by an assertion
 * (RFC 7523) that its registered key, or an issuer that the tenant trusts, has signed. Who is unknown and who is wrong get the same answer.
 */
export async function answerToken(request: Request, ports: EndpointPorts): Promise<Response> {
  const type = (request.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase();
  if (type !== "application/x-www-form-urlencoded")
    return oauthError(400, "invalid_request", "The body is a form (application/x-www-form-urlencoded).");
  const text = await boundedText(request, TOKEN_BODY_BYTES);
  if (text === null) return refusal("body-too-large", "This is too long for a request for a token.");
  const form = new URLSearchParams(text);
  const names = [...form.keys()];
  if (new Set(names).size < names.length) return oauthError(400, "invalid_request", "A parameter stands twice.");
  if (form.get("grant_type") !== "client_credentials")
    return oauthError(400, "unsupported_grant_type", "Only client_credentials is known here.");
  const asked = clientOf(request.headers.get("authorization"), form);
  if (asked === "ambiguous")
    return oauthError(400, "invalid_request", "The client proves itself in one way: by Basic, or in the form.");
  if (asked === null) return unproved();
  const { identity, proof } = asked;
  const key = `${identity.tenant} ${ports.clientAddress ?? ""}`;
  const waitMs = ports.failedTokens.blockedForMs(key, ports.now());
  if (waitMs > 0) return tooMany(waitMs);
  const lane = await ports.laneOf(identity);
  if (lane === "unreachable") return away();
  const answer = await lane?.token({ connector: identity.connector, proof, origin: new URL(request.url).origin });
  if (answer?.ok === true) {
    const { token, lifetimeMs } = answer;
    return json(200, { access_token: token, token_type: "Bearer", expires_in: Math.floor(lifetimeMs / 1_000) });
  }
  ports.warn("no token was given", { tenant: identity.tenant, why: answer?.refusal.why ?? "no such tenant" });
  switch (answer?.refusal.kind) {
    case "not-available":
    case "over-capacity":
      return away();
    case "forbidden":
      return oauthError(400, "unauthorized_client", "This connector is disabled, or its time is over.");
    case "unauthorized":
    case undefined:
      break;
  }
  ports.failedTokens.count(key, ports.now());
  return unproved();
}

/** Null: nothing that could prove anybody. */
function clientOf(authorization: string | null, form: URLSearchParams): Asked | "ambiguous" | null {
  const assertion = form.get("client_assertion");
  const posted = form.get("client_secret");
  if ([authorization, assertion, posted].filter((one) => one !== null).length > 1) return "ambiguous";
  const clientId = form.get("client_id");
  if (assertion !== null) {
    if (form.get("client_assertion_type") !== JWT_BEARER) return null;
    const identity = claimedIdentity(assertion, clientId);
    return identity === null ? null : { identity, proof: { kind: "assertion", assertion } };
  }
  const basic = authorization === null ? null : basicCredentials(authorization);
  const id = basic?.id ?? clientId;
  const secret = basic?.secret ?? posted;
  const identity = id === null ? null : parseClientId(id);
  return identity === null || secret === null ? null : { identity, proof: { kind: "secret", secret } };
}

/** Both halves are form-encoded (RFC 6749, section 2.3.1). */
function basicCredentials(authorization: string): { id: string; secret: string } | null {
  const encoded = /^basic ([A-Za-z0-9+/=]{1,4096})$/i.exec(authorization)?.[1];
  if (encoded === undefined) return null;
  try {
    const [, id, secret] = /^([^:]*):(.*)$/s.exec(atob(encoded)) ?? [];
    const decode = (text: string) => decodeURIComponent(text.replaceAll("+", " "));
    return id === undefined || secret === undefined ? null : { id: decode(id), secret: decode(secret) };
  } catch {
    return null;
  }
}

const unproved = (): Response =>
  oauthError(401, "invalid_client", "The credentials do not prove a connector of this tenant.", {
    "www-authenticate": 'Basic realm="relay"',
  });

const away = (): Response =>
  refusal("not-available", "No token can be given just now. Try again in a moment.", {
    "retry-after": String(RETRY_AFTER_SECONDS),
  });

function oauthError(
  status: 400 | 401,
  error: string,
  description: string,
  headers: Record<string, string> = {},
): Response {
  const code = status === 401 ? "unauthorized" : "bad-request";
  return json(status, { error, error_description: description }, { "causeway-error": code, ...headers });
}
