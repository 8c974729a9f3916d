import { decodeJwt, decodeProtectedHeader } from "jose";

/** Who somebody says to be, before anything was checked: good enough to find the tenant that must check it, for nothing else. */
export interface ClaimedIdentity {
  /** `slug` or `slug@cluster`. */
  readonly tenant: string;
  readonly slug: string;
  readonly cluster: string | null;
  /** Null: the tenant alone was named; the credential tells which connector it is. */
  readonly connector: string | null;
}

const CLIENT = /^(([a-z0-9-]{1,63})(?:@([a-z0-9-]{1,63}))?)(?:\/([A-Za-z0-9._-]{1,64}))?$/;

/** A client id: `<tenant>` or `<tenant>/<connector>`. Null when it is none. */
export function parseClientId(text: string): ClaimedIdentity | null {
  const [, tenant, slug, cluster, connector] = CLIENT.exec(text) ?? [];
  if (tenant === undefined || slug === undefined) return null;
  return { tenant, slug, cluster: cluster ?? null, connector: connector ?? null };
}

/** Client id as tokens and assertions have it. */
export const clientIdOf = ({ tenant, name }: { tenant: string; name: string }): string => `${tenant}/${name}`;

export const bearerToken = (authorization: string | null): string | null =>
  /^bearer ([A-Za-z0-9._~+/=-]{1,16384})$/i.exec(authorization ?? "")?.[1] ?? null;

/** What a token claims, unverified; null when it is no JWT. */
export interface Claims {
  readonly alg: string;
  readonly kid: string | null;
  readonly iss: string;
  readonly sub: string;
  /** Of access tokens of ours. */
  readonly clientId: string | null;
}

export function claimsOf(token: string): Claims | null {
  try {
    const { alg, kid } = decodeProtectedHeader(token);
    const { iss, sub, client_id: clientId } = decodeJwt(token);
    if (alg === undefined || iss === undefined || sub === undefined) return null;
    return { alg, kid: kid ?? null, iss, sub, clientId: typeof clientId === "string" ? clientId : null };
  } catch {
    return null;
  }
}

/**
 * Who dials with this token. An assertion and a token of ours say it themselves; one of an outside issuer knows nothing of tenants, so the
 * connector names itself beside it (`client`: its client id). Null: nobody can be meant.
 */
export function claimedIdentity(token: string, client: string | null = null): ClaimedIdentity | null {
  const claims = claimsOf(token);
  if (claims === null) return null;
  const own = claims.clientId !== null && claims.alg === "HS256" ? claims.clientId : null;
  const assertion = claims.iss === claims.sub ? parseClientId(claims.iss) : null;
  if (own !== null) return parseClientId(own);
  if (assertion !== null && assertion.connector !== null) return assertion;
  return client === null ? null : parseClientId(client);
}
