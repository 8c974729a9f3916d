import { applyCors, isPreflight, preflightHeaders } from "../policy/cors.ts";
import type { CorsPolicy, EdgePolicy, Maintenance, NetworkRules, TrafficLimits } from "../policy/edge-policy.ts";
import { isAdmitted, isInAny, visitorKey } from "../policy/network.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import { declaredLength } from "./content-length.ts";
import type { EdgePorts } from "./ports.ts";
import { refuse, type Visit } from "./visit.ts";

/** What a route, or all routes to one target, add to the tenant's own rules. */
export interface RouteRules {
  /** The tenant's id and the prefix: what a rate is counted for. */
  readonly scope: string;
  readonly networks: readonly NetworkRules[];
  readonly limits: TrafficLimits | null;
  readonly cors: CorsPolicy | null;
}

/** The tenant's own rules, before anything else of it is looked at. Null: the visitor may go on. */
export function guardTenant(
  visit: Visit,
  record: DirectoryRecord,
  { rates }: Pick<EdgePorts, "rates">,
): Response | null {
  const { policy, notice } = record;
  const closed = notice ? refuseDuring(visit, notice) : null;
  if (closed !== null || policy === undefined) return closed;
  if (policy.network && !mayComeIn(visit, policy.network)) return refuseOrigin(visit);
  const refusal = policy.maintenance ? refuseDuring(visit, policy.maintenance) : null;
  if (refusal !== null) return refusal;
  return policy.limits ? withinRates(visit, record.tenantId, policy.limits, rates) : null;
}

/** The route's rules; the answer to a preflight is one of them, since it comes without credentials. Null: the visitor may go on. */
export function guardRoute(visit: Visit, rules: RouteRules, { rates }: Pick<EdgePorts, "rates">): Response | null {
  for (const network of rules.networks) if (!mayComeIn(visit, network)) return refuseOrigin(visit);
  if (rules.limits !== null) {
    const refusal = withinRates(visit, rules.scope, rules.limits, rates);
    if (refusal !== null) return refusal;
  }
  if (rules.cors !== null && isPreflight(visit.method, visit.request.headers)) {
    visit.body?.cancel().catch(() => undefined);
    return new Response(null, { status: 204, headers: preflightHeaders(rules.cors, visit.request.headers) });
  }
  return null;
}

/** Null: this visitor gets through all the same. */
export function refuseDuring(visit: Visit, { message, retryAfterSeconds, allow }: Maintenance): Response | null {
  if (isInAny(visit.clientAddress, allow)) return null;
  return refuse(visit, "maintenance", message, { "retry-after": String(retryAfterSeconds) });
}

function mayComeIn(visit: Visit, rules: NetworkRules): boolean {
  return isAdmitted(rules, { address: visit.clientAddress, country: visit.country() });
}

const refuseOrigin = (visit: Visit): Response =>
  refuse(visit, "forbidden", "This site does not take visitors from your network or country.");

function withinRates(visit: Visit, scope: string, limits: TrafficLimits, rates: EdgePorts["rates"]): Response | null {
  const waitMs = rates.admit(scope, visitorKey(visit.clientAddress), limits);
  if (waitMs === 0) return null;
  return refuse(visit, "rate-limited", "Too many requests in a short time. Wait a little, then go on.", {
    "retry-after": String(Math.ceil(waitMs / 1_000)),
  });
}

/** A visit whose body ends with an error when it gets longer than allowed; `isExceeded` tells afterwards whether it did. */
export interface LimitedBody {
  readonly visit: Visit;
  readonly isExceeded: () => boolean;
}

/** Null: nothing is to be watched. A Response: the body says that it is too long. */
export function limitBody(
  visit: Visit,
  policy: EdgePolicy | undefined,
  rules: RouteRules,
): LimitedBody | Response | null {
  const maxBytes = rules.limits?.bodyBytes ?? policy?.limits?.bodyBytes;
  if (maxBytes === undefined || visit.body === null) return null;
  const length = declaredLength(visit.request.headers);
  if (length !== null) return length > maxBytes ? bodyTooLarge(visit) : null;
  let bytes = 0;
  const counted = visit.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.byteLength;
        if (bytes > maxBytes) controller.error(new Error("the body is too large"));
        else controller.enqueue(chunk);
      },
    }),
  );
  const request = new Request(visit.request, { method: visit.method, body: counted, redirect: "manual" });
  return { visit: { ...visit, request, body: request.body }, isExceeded: () => bytes > maxBytes };
}

export const bodyTooLarge = (visit: Visit): Response =>
  refuse(visit, "body-too-large", "The body is larger than this address takes.");

/** An answer as the policy wants it to leave; most go as they are. Handshakes are no documents, and their headers are not ours to change. */
export function dressed(
  visit: Visit,
  response: Response,
  policy: EdgePolicy | undefined,
  cors: CorsPolicy | null,
): Response {
  const wantsSecurity = policy?.securityHeaders === true;
  if ((cors === null && !wantsSecurity) || response.status === 101) return response;
  const isAnsweredPreflight =
    cors !== null && response.status === 204 && isPreflight(visit.method, visit.request.headers);
  const copy = new Response(response.body, response);
  if (cors !== null && !isAnsweredPreflight) applyCors(copy.headers, cors, visit.request.headers.get("origin"));
  if (wantsSecurity) {
    for (const [name, value] of SECURITY_HEADERS) if (!copy.headers.has(name)) copy.headers.set(name, value);
    if (visit.scheme === "https" && !copy.headers.has(HSTS)) copy.headers.set(HSTS, "max-age=31536000");
  }
  return copy;
}

const HSTS = "strict-transport-security";
const SECURITY_HEADERS = [
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "strict-origin-when-cross-origin"],
  ["x-frame-options", "SAMEORIGIN"],
] as const;
