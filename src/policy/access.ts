import type { RoleName } from "../protocol/portal-rpc.ts";
import type { ServiceToken } from "./edge-policy.ts";
import type { AccessMode, DirectoryRecord, RouteRoles, TenantRoute } from "./record.ts";
import { isUnderPrefix } from "./route.ts";

/** What the edge knows of a visitor after it has checked the signature of the session token. */
export interface VisitorClaims {
  readonly aud: string;
  readonly sub: string;
  readonly accessRevision: number;
  /** Null: an account that is no member. Absent: a member, from before roles were told. */
  readonly role?: RoleName | null | undefined;
  /** Seconds since the epoch. */
  readonly iat: number;
  readonly exp: number;
}

/** All that a route wants of a visitor. */
export interface Requirement {
  readonly account: "none" | "any" | "member";
  readonly password: boolean;
  /** Of a member; null: any. */
  readonly use: RoleName | null;
  readonly write: RoleName | null;
}

export interface Visitor {
  /** Of a session that has not been ended; its signature holds. */
  readonly claims: VisitorClaims | null;
  /** Has shown the tenant's visitor password. */
  readonly knowsPassword: boolean;
  /** A page navigation of a browser, which may be sent to a form. */
  readonly canSignIn: boolean;
  readonly method: string;
}

/** `sign-in`: send the browser to the portal. `ask-password`: show the form. `refuse`: 401. `forbid`: 403, signing in again changes nothing. */
export type AccessDecision =
  | { readonly kind: "allow"; readonly accountId: string | null; readonly role: RoleName | null }
  | { readonly kind: "sign-in" }
  | { readonly kind: "ask-password" }
  | { readonly kind: "refuse" }
  | { readonly kind: "forbid"; readonly why: "not-member" | "role" };

export const OPEN: Requirement = { account: "none", password: false, use: null, write: null };

export const isOpen = (of: Requirement): boolean => of.account === "none" && !of.password;

export function requirementOf({ access, roles }: Pick<TenantRoute, "access" | "roles">): Requirement {
  if (access === "member") return { ...OF_MODE[access], ...rolesOf(roles) };
  return OF_MODE[access];
}

const OF_MODE: Readonly<Record<AccessMode, Requirement>> = {
  public: OPEN,
  password: { ...OPEN, password: true },
  "sign-up": { ...OPEN, account: "any" },
  "sign-up-password": { ...OPEN, account: "any", password: true },
  member: { ...OPEN, account: "member" },
};

const rolesOf = (roles: RouteRoles | null | undefined): Pick<Requirement, "use" | "write"> => ({
  use: roles?.use ?? null,
  write: roles?.write ?? null,
});

/** Whether some route lets in accounts that are no members. */
export const isOpenToAccounts = ({ routes }: Pick<DirectoryRecord, "routes">): boolean =>
  routes.some(({ access }) => access === "sign-up" || access === "sign-up-password");

/**
 * What a target's own host and its relay address want: all that any route of the tenant to that target wants, nothing where no route names
 * it.
 */
export function targetRequirement(routes: readonly TenantRoute[], target: string): Requirement {
  let all = OPEN;
  for (const route of routes) {
    if (route.to.kind === "target" && route.to.target === target) all = both(all, requirementOf(route));
  }
  return all;
}

function both(a: Requirement, b: Requirement): Requirement {
  return {
    account: ACCOUNTS.indexOf(a.account) > ACCOUNTS.indexOf(b.account) ? a.account : b.account,
    password: a.password || b.password,
    use: higher(a.use, b.use),
    write: higher(a.write, b.write),
  };
}
const ACCOUNTS = ["none", "any", "member"] as const;

const ROLES = ["viewer", "member", "admin", "owner"] as const satisfies readonly RoleName[];
const rank = (role: RoleName | null): number => (role === null ? -1 : ROLES.indexOf(role));
const higher = (a: RoleName | null, b: RoleName | null): RoleName | null => (rank(a) > rank(b) ? a : b);

/** RFC 9110, section 9.2.1. A WebSocket's handshake is a GET; whether it may say something is the service's matter. */
export const isReading = (method: string): boolean => method === "GET" || method === "HEAD" || method === "OPTIONS";

/** Who may use a route, from the record and the claims alone. A session of another tenant counts as none (G05). */
export function decideAccess(
  wanted: Requirement,
  record: Pick<DirectoryRecord, "tenantId" | "accessRevision" | "notBefore">,
  visitor: Visitor,
  nowSeconds: number,
): AccessDecision {
  const { canSignIn, knowsPassword, method } = visitor;
  const claims = visitor.claims !== null && isValidFor(record, visitor.claims, nowSeconds) ? visitor.claims : null;
  // Of those who came before roles were told every one was a member; as what is not known.
  const role = claims === null ? null : claims.role === undefined ? "viewer" : claims.role;
  if (wanted.account !== "none") {
    if (claims === null) return canSignIn ? { kind: "sign-in" } : { kind: "refuse" };
    if (wanted.account === "member") {
      if (role === null) return { kind: "forbid", why: "not-member" };
      const least = isReading(method) ? wanted.use : higher(wanted.use, wanted.write);
      if (rank(role) < rank(least)) return { kind: "forbid", why: "role" };
    }
  }
  if (wanted.password && !knowsPassword) return canSignIn ? { kind: "ask-password" } : { kind: "refuse" };
  return { kind: "allow", accountId: claims?.sub ?? null, role };
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
 * Whether a service token is good for a request to a route: not run out, a prefix of its scope covers the route's, and it may write if the
 * request does. `forbidden`: it is the tenant's, but not for this.
 */
export function judgeToken(
  token: ServiceToken,
  routePrefixes: readonly string[],
  method: string,
  nowSeconds: number,
): "good" | "expired" | "forbidden" {
  if (token.expiresAtSeconds !== null && token.expiresAtSeconds <= nowSeconds) return "expired";
  if (!token.write && !isReading(method)) return "forbidden";
  const covers = (route: string): boolean => token.prefixes.some((prefix) => isUnderPrefix(route, prefix));
  return routePrefixes.some(covers) ? "good" : "forbidden";
}
