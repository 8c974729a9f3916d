import { HEADER } from "../protocol/headers.ts";
import { parseSlug, parseTarget } from "../policy/names.ts";
import { matchRoute, targetTimeouts } from "../policy/route.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import type { EdgePorts, EdgeSettings, Fetch } from "./ports.ts";
import type { LaneLoad } from "./lane-load.ts";
import { guardTenant } from "./guard.ts";
import { askRelayEndpoint, isRelayEndpoint } from "./relay-endpoint.ts";
import { behindTarget, guarded, type Behind, recordOrRefusal, toTarget } from "./tenant-host.ts";
import { refuse, type Visit } from "./visit.ts";

/**
 * `relay.<base>`: connectors and node agents dial in here where no path route leads straight to the relay's Workers (the local stack), and
 * programs reach targets at `/relay/{tenant}/{target}/...` (P01), or at `/trace/...` to learn how the answer came about (P03). All tenants
 * share this origin, so no cookies pass and pages are sandboxed (D16).
 */
export async function answerRelayHost(
  visit: Visit,
  ports: EdgePorts,
  settings: EdgeSettings,
  load: LaneLoad,
): Promise<Response> {
  const direct = directRoute(visit.rawPath, ports);
  if (direct !== null) return await passThrough(visit, direct);

  const [, mode, tenant, target, rest = "/"] = /^\/([^/]*)\/([^/]*)\/([^/]*)(\/.*)?$/.exec(visit.rawPath) ?? [];
  if ((mode === "relay" || mode === "trace") && tenant !== undefined && target !== undefined) {
    const startedAtMs = ports.now();
    const answer = await answerProgram(visit, { mode, tenant, target, rest }, ports, settings, load);
    return forAll(visit, answer, mode === "trace" ? ports.now() - startedAtMs : null);
  }
  if (/^\/queue(?:\/|$)/.test(visit.rawPath)) {
    return refuse(visit, "not-available", "Queues are not part of this version; use /relay.", {}, 501);
  }
  return refuse(visit, "not-found", "There is nothing at this address of the relay.");
}

function directRoute(rawPath: string, ports: EdgePorts): Fetch | null {
  switch (rawPath) {
    case "/connect/a":
      return ports.relay.a;
    case "/connect/b":
      return ports.relay.b;
    case "/node":
    case "/node/enroll":
      return ports.relay.control;
    default:
      return isRelayEndpoint(rawPath) ? (request) => askRelayEndpoint(request, ports.relay) : null;
  }
}

/** As it came, but without headers that claim to be ours; these Workers check identities themselves. */
async function passThrough(visit: Visit, to: Fetch): Promise<Response> {
  const headers = new Headers(visit.request.headers);
  for (const name of visit.request.headers.keys()) if (name.startsWith("causeway-")) headers.delete(name);
  try {
    return await to(new Request(visit.request, { headers }));
  } catch {
    return refuse(visit, "not-available", "The relay does not answer right now. Try again in a moment.", {
      "retry-after": "1",
    });
  }
}

interface ProgramAddress {
  readonly mode: "relay" | "trace";
  /** As it came, in any case. */
  readonly tenant: string;
  readonly target: string;
  readonly rest: string;
}

async function answerProgram(
  visit: Visit,
  address: ProgramAddress,
  ports: EdgePorts,
  settings: EdgeSettings,
  load: LaneLoad,
): Promise<Response> {
  const target = parseTarget(address.target.toLowerCase());
  if (!target.ok) return refuse(visit, "unknown-target", "This is not a possible name of a target.");
  // Only to refuse paths that climb: "/relay/acme/echo/..%2f..%2fglobex/..." must not depend on who decodes it.
  if (matchRoute([], address.rest).kind === "ambiguous") {
    return refuse(visit, "bad-request", "The path has dot segments, which a proxy and a target may read differently.");
  }
  const record = await findTenant(visit, address.tenant.toLowerCase(), ports, settings);
  if (record instanceof Response) return record;
  const kept = guardTenant(visit, record, ports);
  if (kept !== null) return kept;
  const forPrograms = (later: DirectoryRecord): Behind => ({
    ...behindTarget(later, target.value),
    forPrograms: true,
    again: forPrograms,
  });
  const to = {
    target: target.value,
    prefix: `/${address.mode}/${address.tenant}/${address.target}`,
    path: address.rest,
    withoutCookies: true,
    timeouts: targetTimeouts(record.routes, target.value),
    trace: address.mode === "trace",
  };
  return await guarded(visit, record, forPrograms(record), ports, settings, (admitted, identity) =>
    toTarget(admitted, record, to, identity, ports, load),
  );
}

/** `slug` in the platform's own domain, or `slug@cluster` in whichever registered domain is that cluster's. */
async function findTenant(
  visit: Visit,
  name: string,
  ports: EdgePorts,
  settings: EdgeSettings,
): Promise<DirectoryRecord | Response> {
  const [slug = "", cluster, more] = name.replaceAll("%40", "@").split("@");
  const unknown = () => refuse(visit, "unknown-host", "No tenant has this name.");
  if (!parseSlug(slug).ok || more !== undefined) return unknown();
  for (const base of cluster === undefined ? [settings.baseDomains[0]] : settings.baseDomains) {
    const found = await recordOrRefusal(visit, `${slug}.${base}`, ports);
    if (found === null || (found instanceof Response && cluster !== undefined)) continue;
    if (found instanceof Response || cluster === undefined || found.cluster === cluster) return found;
  }
  return unknown();
}

/**
 * An answer as this host gives it: pages are sandboxed. `tracedMs`: what the whole way took, for an answer to `/trace/`; the lane has told its
 * part where the tenant allows it, and only there ours is added.
 */
function forAll(visit: Visit, answer: Response, tracedMs: number | null): Response {
  // An answer to an upgrade is no document; and its headers are not ours to change.
  if (answer.status === 101) return answer;
  const response = new Response(answer.body, answer);
  response.headers.append("content-security-policy", "sandbox");
  response.headers.set("x-content-type-options", "nosniff");
  const way = tracedMs === null ? null : response.headers.get(HEADER.trace);
  if (way !== null) {
    const trace = visit.traceparent.slice(3, 35);
    response.headers.set(HEADER.trace, `request=${visit.requestId}; trace=${trace}; ${way}`);
    response.headers.append("server-timing", `edge;dur=${tracedMs}`);
  }
  return response;
}
