import type { AccessMode, DirectoryRecord } from "./record.ts";

/** What the edge knows of a visitor after it has checked the signature of the session token. */
export interface VisitorClaims {
  readonly aud: string;
  readonly sub: string;
  readonly accessRevision: number;
  /** Seconds since the epoch. */
  readonly iat: number;
  readonly exp: number;
}

/** `sign-in`: send the browser to the portal. `refuse`: 401, because this client can't follow a sign-in. */
export type AccessDecision =
  | { readonly kind: "allow"; readonly accountId: string | null }
  | { readonly kind: "sign-in" }
  | { readonly kind: "refuse" };

/**
 * Who may use a route, from the record and the claims alone. A session of another tenant counts as none (G05).
 * `canSignIn`: a page navigation of a browser, which may be redirected.
 */
export function decideAccess(
  access: AccessMode,
  record: Pick<DirectoryRecord, "tenantId" | "accessRevision" | "notBefore">,
  claims: VisitorClaims | null,
  nowSeconds: number,
  canSignIn: boolean,
): AccessDecision {
  if (access === "public") return { kind: "allow", accountId: null };
  // Every other mode, also one that this version does not know yet, wants at least a member.
  if (claims !== null && isValidFor(record, claims, nowSeconds)) return { kind: "allow", accountId: claims.sub };
  return canSignIn ? { kind: "sign-in" } : { kind: "refuse" };
}

export function isValidFor(
  record: Pick<DirectoryRecord, "tenantId" | "accessRevision" | "notBefore">,
  claims: VisitorClaims,
  nowSeconds: number,
): boolean {
  if (claims.aud !== record.tenantId) return false;
  if (claims.exp <= nowSeconds) return false;
  if (claims.accessRevision < record.accessRevision) return false;
  // Own keys only: account ids come from outside, "constructor" must not find Object's.
  const notBefore = Object.hasOwn(record.notBefore, claims.sub) ? record.notBefore[claims.sub] : undefined;
  // Both are whole seconds; one that was issued in the very second of the revocation may be older, so it is refused.
  return notBefore === undefined || claims.iat > notBefore;
}

/**
 * The access mode of a target's own host and of its relay address: as strict as the strictest route of the tenant to that target, public
 * where no route names it.
 */
export function targetAccess(record: Pick<DirectoryRecord, "routes">, target: string): AccessMode {
  const guarded = record.routes.some(
    (route) => route.to.kind === "target" && route.to.target === target && route.access === "member",
  );
  return guarded ? "member" : "public";
}
