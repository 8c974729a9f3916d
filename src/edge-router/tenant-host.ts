import { isOpen, requirementOf, targetRequirement } from "../policy/access.ts";
import type { DirectoryRecord, TenantRoute } from "../policy/record.ts";
import { matchRoute, targetPath, targetTimeouts } from "../policy/route.ts";
import { HEADER } from "../protocol/headers.ts";
import { SESSION_LIFETIME_SECONDS } from "../protocol/portal-rpc.ts";
import { bodyTooLarge, dressed, guardRoute, guardTenant, limitBody, refuseDuring, type RouteRules } from "./guard.ts";
import type { Lookup } from "./directory-cache.ts";
import { guardSocket } from "./guarded-socket.ts";
import type { LaneLoad } from "./lane-load.ts";
import { LIMITS } from "./limits.ts";
import { proxyToTarget, type TargetRequest } from "./lane-proxy.ts";
import { proxyToNode } from "./node-proxy.ts";
import type { EdgePorts, EdgeSettings } from "./ports.ts";
import { answerHere } from "./route-answer.ts";
import type { Soon } from "./soon.ts";
import { OWN_PATHS, ownPath } from "./sign-in.ts";
import { refuse, type Visit } from "./visit.ts";
import { admitVisitor, type Guarded } from "./visitor-access.ts";
import { NOBODY, type Identity } from "./identity.ts";

/**
 * A tenant's host: record, state, the tenant's rules, route, its rules, access, then node or target, in this order. Null: no tenant has the
 * host.
 */
export async function answerTenantHost(
  visit: Visit,
  host: string,
  ports: EdgePorts,
  settings: EdgeSettings,
  load: LaneLoad,
): Promise<Response | null> {
  const found = recordOrRefusal(visit, host, ports);
  const record = found instanceof Promise ? await found : found;
  if (record === null || record instanceof Response) return record;
  const kept = guardTenant(visit, record, ports);
  if (kept !== null) return kept;
  if (visit.rawPath.startsWith(OWN_PATHS)) return await ownPath(visit, record, ports, settings);

  const match = matchRoute(record.routes, visit.rawPath);
  if (match.kind === "ambiguous") return refuseAmbiguous(visit);
  if (match.kind === "none") {
    return refuse(visit, "no-route", "Nothing of this tenant is at this address. Check the path.");
  }
  const { route, rest } = match;
  visit.seen.route = route.prefix;
  const behind = behindRoute(record, route, visit.rawPath);
  return await guarded(visit, record, behind, ports, settings, (admitted, identity) => {
    const { to } = route;
    const timeouts = route.timeouts ?? null;
    if (to.kind === "service") {
      const prefix = route.rewrite?.prefix === undefined || route.prefix === "/" ? "" : route.prefix;
      const how = { prefix, identity, firstByteMs: timeouts?.firstByteMs ?? settings.firstByteMs };
      return proxyToNode(admitted, record, ports, how);
    }
    if (to.kind !== "target") return answerHere(admitted, to, rest);
    const request = {
      target: to.target,
      prefix: route.prefix === "/" ? "" : route.prefix,
      path: targetPath(route, rest),
      withoutCookies: false,
      timeouts,
      trace: false,
    };
    return toTarget(admitted, record, request, identity, ports, load);
  });
}

/** A target's own host, `<target>--<slug>.<base>`: everything below it belongs to the target. Null: no tenant has the host. */
export async function answerTargetHost(
  visit: Visit,
  parsed: { readonly tenantHost: string; readonly target: string },
  ports: EdgePorts,
  settings: EdgeSettings,
  load: LaneLoad,
): Promise<Response | null> {
  const { target } = parsed;
  const found = recordOrRefusal(visit, parsed.tenantHost, ports);
  const record = found instanceof Promise ? await found : found;
  if (record === null || record instanceof Response) return record;
  const kept = guardTenant(visit, record, ports);
  if (kept !== null) return kept;
  if (visit.rawPath.startsWith(OWN_PATHS)) return await ownPath(visit, record, ports, settings);

  return await guarded(visit, record, behindTarget(record, target), ports, settings, (admitted, identity) => {
    const timeouts = targetTimeouts(record.routes, target);
    const to = { target, prefix: "", path: visit.rawPath, withoutCookies: false, timeouts, trace: false };
    return toTarget(admitted, record, to, identity, ports, load);
  });
}

/** Rules and requirement of one address. */
export interface Behind extends Guarded, RouteRules {
  /** The same by a newer record; null: nothing is there any more. */
  readonly again: (later: DirectoryRecord) => Behind | null;
}

function behindRoute(record: DirectoryRecord, route: TenantRoute, rawPath: string): Behind {
  return {
    again(later) {
      const match = matchRoute(later.routes, rawPath);
      return match.kind === "route" ? behindRoute(later, match.route, rawPath) : null;
    },
    requirement: requirementOf(route),
    prefixes: [route.prefix],
    forPrograms: false,
    scope: record.tenantId + route.prefix,
    networks: route.network ? [route.network] : NONE,
    limits: route.limits ?? null,
    cors: route.cors ?? record.policy?.cors ?? null,
  };
}

/** Of a target's own host and relay address: all that the routes to it say. Limits and CORS: of the first that has any. */
export function behindTarget(record: DirectoryRecord, target: string): Behind {
  const routes = record.routes.filter(({ to }) => to.kind === "target" && to.target === target);
  return {
    again: (later) => behindTarget(later, target),
    requirement: targetRequirement(routes, target),
    prefixes: routes.map(({ prefix }) => prefix),
    forPrograms: false,
    scope: `${record.tenantId}*${target}`,
    networks: routes.flatMap(({ network }) => (network ? [network] : [])),
    limits: routes.find(({ limits }) => limits)?.limits ?? null,
    cors: routes.find(({ cors }) => cors)?.cors ?? record.policy?.cors ?? null,
  };
}
const NONE: readonly never[] = [];

/** Does `forward` when rules and access allow it. Every answer leaves as the tenant's policy wants it, refusals too. */
export async function guarded(
  visit: Visit,
  record: DirectoryRecord,
  behind: Behind,
  ports: EdgePorts,
  settings: EdgeSettings,
  forward: (visit: Visit, identity: Identity) => Soon<Response>,
): Promise<Response> {
  const answer = await answered();
  return dressed(visit, answer, record.policy, behind.cors);

  async function answered(): Promise<Response> {
    const refusal = guardRoute(visit, behind, ports);
    if (refusal !== null) return refusal;
    const isPublic = isOpen(behind.requirement);
    const identity = isPublic ? NOBODY : await admitVisitor(visit, record, behind, ports, settings);
    if (identity instanceof Response) return identity;
    const limited = limitBody(visit, record.policy, behind);
    if (limited instanceof Response) return limited;
    if (limited === null) return guardUpgrade(visit, record, behind, await forward(visit, identity), ports, settings);
    const response = await forward(limited.visit, identity);
    return limited.isExceeded() ? bodyTooLarge(visit) : response;
  }
}

/** An upgrade of an address that is not open to everybody goes on as long as its visitor would be let in again. */
function guardUpgrade(
  visit: Visit,
  { host }: DirectoryRecord,
  behind: Behind,
  response: Response,
  ports: EdgePorts,
  settings: EdgeSettings,
): Response {
  const { webSocket } = response;
  if (response.status !== 101 || webSocket === null || isOpen(behind.requirement)) return response;
  const { session } = visit;
  // What comes over the socket is use, so only the session's absolute end counts.
  if (session.proven) session.proven = { ...session.proven, exp: session.proven.iat + SESSION_LIFETIME_SECONDS };
  const recheck = async (): Promise<string | null> => {
    const record = await recordOrRefusal(visit, host, ports);
    if (record === null) return "unknown-host";
    // The directory is away: last known good.
    if (record instanceof Response) return reasonOf(record, "not-available");
    const now = behind.again(record);
    if (now === null) return "no-route";
    const admitted = await admitVisitor(visit, record, now, ports, settings);
    return admitted instanceof Response ? (reasonOf(admitted, null) ?? "unauthorized") : null;
  };
  const guarding = guardSocket(webSocket, recheck, LIMITS.socketCheckMs, ports.timer);
  return new Response(null, { status: 101, webSocket: guarding, headers: response.headers });
}

/** The error's code, null for `harmless` and for what is none. */
function reasonOf(response: Response, harmless: string | null): string | null {
  const code = response.headers.get(HEADER.error);
  return code === harmless ? null : code;
}

export async function toTarget(
  visit: Visit,
  record: DirectoryRecord,
  to: TargetRequest,
  identity: Identity,
  ports: EdgePorts,
  load: LaneLoad,
): Promise<Response> {
  const said = identity.kind === "nobody" ? to : { ...to, identity: await ports.identityFields(identity, record) };
  const askedAtMs = ports.now();
  const response = await proxyToTarget(visit, record, said, ports, load);
  visit.seen.upstreamMs = ports.now() - askedAtMs;
  return response;
}

/** The active record of a host, an answer that says why there is none, or null for an unknown host. */
export function recordOrRefusal(
  visit: Visit,
  host: string,
  ports: Pick<EdgePorts, "directory">,
): Soon<DirectoryRecord | Response | null> {
  const found = ports.directory.find(host, visit.waitUntil);
  return found instanceof Promise ? found.then((later) => judged(visit, later)) : judged(visit, found);
}

function judged(visit: Visit, found: Lookup): DirectoryRecord | Response | null {
  if (found.kind === "unknown") return null;
  if (found.kind === "unavailable") {
    visit.seen.directory = "unavailable";
    return refuse(visit, "not-available", "We can't tell right now who serves this host. Try again in a moment.", {
      "retry-after": "5",
    });
  }
  const { record } = found;
  // Nobody's: no tenant has the host, but there is a notice for all.
  if (record.tenantId === "") return record.notice ? refuseDuring(visit, record.notice) : null;
  visit.seen.directory = found.source;
  visit.seen.tenantId = record.tenantId;
  visit.seen.tenant = record.slug;
  if (record.state === "active") return record;
  const { code, detail, headers } = STATE_PAGES[record.state];
  return refuse(visit, code, detail, headers);
}

/** What a tenant's host says while the tenant is not served (D2). */
const STATE_PAGES = {
  provisioning: {
    code: "tenant-not-ready",
    detail: "This tenant is being set up. It will be here in a moment.",
    headers: { "retry-after": "2" },
  },
  suspended: { code: "tenant-suspended", detail: "This tenant is suspended. Its operator knows why.", headers: {} },
  failed: { code: "tenant-failed", detail: "Setting up this tenant failed. Its operator knows why.", headers: {} },
} as const;

function refuseAmbiguous(visit: Visit): Response {
  return refuse(
    visit,
    "bad-request",
    "The path can be read in more than one way (dot segments or encoded separators).",
  );
}
