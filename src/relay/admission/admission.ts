import { calculateJwkThumbprint } from "jose";
import type { PublicJwk } from "../../protocol/jwk.ts";
import type { ConnectorGrant, PairingRequest, TenantSettings } from "../../protocol/lane.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { endingOf } from "../core/rights.ts";
import type { Credential } from "../core/types.ts";
import { ACCESS_TOKEN_MS } from "../limits.ts";
import type { AccessTokens } from "./access-token.ts";
import { verifyAssertion } from "./assertion.ts";
import { findBySecret } from "./client-secret.ts";
import { claimsOf, clientIdOf, parseClientId } from "./identity.ts";
import { verifyIssuerToken } from "./issuer-token.ts";

/** What one tenant's admission needs of its lane. All of it is read anew at each call. */
export interface AdmissionPorts {
  readonly grants: ReadonlyMap<string, ConnectorGrant>;
  readonly settings: () => TenantSettings;
  /** Null: the host has no key for them, so nobody gets one and none is taken. */
  readonly accessTokens: AccessTokens | null;
  readonly now: () => number;
  readonly newTokenId: () => string;
  /** Notes that an assertion was used. "used": it was before. "full": too many are remembered to take another. */
  readonly use: (assertion: string, untilMs: number) => "first" | "used" | "full";
  /** Those who ask to be let in, and another one. "closed": there is no window, or too many ask. */
  readonly pairing: () => readonly PairingRequest[];
  readonly askToPair: (request: PairingRequest) => "asked" | "closed";
}

/** A connector that was let in. Call `broker.attach` at once: what was checked must still be so. */
export interface Admission {
  readonly grant: ConnectorGrant;
  readonly credential: Credential;
}

/** `why` is for the log; a connector is told the kind only. */
export interface Refusal {
  readonly kind: "unauthorized" | "forbidden" | "not-available" | "over-capacity";
  readonly why: string;
}

/** What somebody showed at the token endpoint. `connector`: claimed name; null: none was. */
export interface TokenRequest {
  readonly connector: string | null;
  readonly proof:
    | { readonly kind: "secret"; readonly secret: string }
    /** Signed by a registered key, or by an issuer that the tenant trusts. */
    | { readonly kind: "assertion"; readonly assertion: string };
  /** Origin of the relay as it was asked. */
  readonly origin: string;
}

export type TokenAnswer =
  | { readonly ok: true; readonly token: string; readonly lifetimeMs: number }
  | { readonly ok: false; readonly refusal: Refusal };

export interface PairRequest {
  readonly connector: string;
  readonly key: PublicJwk;
  readonly software: string;
  readonly clientAddress: string | null;
}

/** The calls of a tenant's lane that the relay's HTTP endpoints make (token-endpoint.ts, pair-endpoint.ts). */
export interface AdmissionRpc {
  token(request: TokenRequest): Promise<TokenAnswer>;
  /** "closed": nobody is let in just now. Else the request's id, which is its key's. */
  pair(request: PairRequest): Promise<{ readonly id: string } | "closed">;
  pairStatus(id: string): Promise<"pending" | "accepted" | "unknown">;
}

export interface TenantAdmission extends AdmissionRpc {
  /** A dial. `audience`: origin that was dialled; `connector`: name claimed beside the token, null: none. */
  admit(token: string, audience: string, connector: string | null): Promise<Result<Admission, Refusal>>;
  /**
   * A token that came in band of a live socket of this connector. Ours is good whichever of the relay's origins it was got at; an assertion is
   * none, it has no end.
   */
  renew(
    connectorId: string,
    token: string,
  ): Promise<{ ok: true; expiresAtMs: number; credential: Credential } | { ok: false; reason: string }>;
}

/** Who may come in, by what the tenant's lane has in its own storage: no database, no network. */
export function createAdmission(ports: AdmissionPorts): TenantAdmission {
  const { grants, settings, accessTokens, now } = ports;

  /** Rights of whoever has proved to be this connector. Synchronous: nothing may change between it and what follows. */
  const entitled = (grant: ConnectorGrant, credential: Credential): Result<Admission, Refusal> => {
    const current = grants.get(grant.connectorId);
    if (settings().disabled) return refused("not-available", "the tenant's relay is switched off");
    const ending = endingOf(credential, current, settings(), now());
    if (current === undefined || ending !== null) {
      const known = current?.disabled === true || isOver(current?.expiresAtMs ?? null, now());
      return refused(known ? "forbidden" : "unauthorized", ending?.reason ?? "the connector is gone");
    }
    return ok({ grant: current, credential });
  };

  const byAssertion = async (token: string, audience: string | string[]): Promise<Result<Admission, Refusal>> => {
    const verified = await verifyAssertion(token, audience, [...grants.values()], now());
    if (!verified.ok) return refused("unauthorized", verified.error);
    const { grant, kid, assertion, rememberUntilMs } = verified.value;
    const admitted = entitled(grant, { kind: "key", id: kid, expiresAtMs: null });
    if (!admitted.ok) return admitted;
    const use = ports.use(assertion, rememberUntilMs);
    if (use === "used") return refused("unauthorized", "the assertion was used before");
    if (use === "full") return refused("over-capacity", "too many assertions are remembered");
    return admitted;
  };

  const byIssuer = async (token: string, connector: string | null): Promise<Result<Admission, Refusal>> => {
    const verified = await verifyIssuerToken(token, connector, settings(), [...grants.values()], now());
    if (!verified.ok) return refused("unauthorized", verified.error);
    const { grant, issuer, expiresAtMs } = verified.value;
    return entitled(grant, { kind: "issuer", id: issuer, expiresAtMs });
  };

  const byAccessToken = async (token: string, audience: string): Promise<Result<Admission, Refusal>> => {
    if (accessTokens === null) return refused("unauthorized", "this relay takes no access tokens");
    const verified = await accessTokens.verify(token, audience, now());
    if (!verified.ok) return refused("unauthorized", verified.error);
    const { connectorId, tenantId, credential, expiresAtMs } = verified.value;
    const grant = grants.get(connectorId);
    if (grant === undefined || grant.tenantId !== tenantId) return refused("unauthorized", "no such connector");
    return entitled(grant, { ...credential, expiresAtMs });
  };

  const isAssertion = (token: string): boolean => {
    const claims = claimsOf(token);
    return claims !== null && claims.iss === claims.sub && (parseClientId(claims.iss)?.connector ?? null) !== null;
  };

  const prove = async ({ proof, connector, origin }: TokenRequest): Promise<Result<Admission, Refusal>> => {
    if (proof.kind === "secret") {
      const found = await findBySecret(proof.secret, connector, [...grants.values()], now());
      if (found === null) return refused("unauthorized", "no such secret");
      return entitled(found.grant, { kind: "secret", id: found.secretId, expiresAtMs: found.expiresAtMs });
    }
    if (isAssertion(proof.assertion)) return await byAssertion(proof.assertion, [origin, `${origin}/token`]);
    return await byIssuer(proof.assertion, connector);
  };

  return {
    async admit(token, audience, connector) {
      if (isAssertion(token)) return await byAssertion(token, audience);
      if (claimsOf(token)?.alg === "HS256") return await byAccessToken(token, audience);
      return await byIssuer(token, connector);
    },
    async renew(connectorId, token) {
      const claims = claimsOf(token);
      const proved = claims?.alg === "HS256" ? await byAccessToken(token, claims.iss) : await byIssuer(token, null);
      if (!proved.ok) return { ok: false, reason: "the token does not prove this connector" };
      const { grant, credential } = proved.value;
      if (grant.connectorId !== connectorId || credential.expiresAtMs === null)
        return { ok: false, reason: "the token is another connector's" };
      return { ok: true, expiresAtMs: credential.expiresAtMs, credential };
    },
    async token(request) {
      if (accessTokens === null) return { ok: false, refusal: { kind: "not-available", why: "there is no token key" } };
      const proved = await prove(request);
      if (!proved.ok) return { ok: false, refusal: proved.error };
      const { grant, credential } = proved.value;
      const { connector, origin } = request;
      if (connector !== null && grant.name !== connector)
        return { ok: false, refusal: { kind: "unauthorized", why: "the client id is another connector's" } };
      const nowMs = now();
      const ends = [nowMs + ACCESS_TOKEN_MS, credential.expiresAtMs, grant.expiresAtMs].filter((ms) => ms !== null);
      const expiresAtMs = Math.floor(Math.min(...ends) / 1_000) * 1_000;
      const claims = {
        tenantId: grant.tenantId,
        connectorId: grant.connectorId,
        clientId: clientIdOf(grant),
        credential: { kind: credential.kind, id: credential.id },
        expiresAtMs,
      };
      const token = await accessTokens.issue(claims, origin, nowMs, ports.newTokenId());
      return { ok: true, token, lifetimeMs: Math.max(0, expiresAtMs - nowMs) };
    },
    async pair({ connector, key, software, clientAddress }) {
      if (isOver(settings().pairingUntilMs ?? 0, now())) return "closed";
      // A key id that is the key's own can't be somebody else's.
      const { kid: id, alg: _alg, use: _use, ...bare } = key;
      if ((await calculateJwkThumbprint(bare)) !== id) return "closed";
      const asked = ports.askToPair({ id, connector, key, software, clientAddress, atMs: now() });
      return asked === "asked" ? { id } : "closed";
    },
    async pairStatus(id) {
      for (const { keys } of grants.values()) if (keys.some(({ kid }) => kid === id)) return "accepted";
      return ports.pairing().some((request) => request.id === id) ? "pending" : "unknown";
    },
  };
}

const refused = (kind: Refusal["kind"], why: string): Result<never, Refusal> => err({ kind, why });
const isOver = (timeMs: number | null, nowMs: number): boolean => timeMs !== null && timeMs <= nowMs;
