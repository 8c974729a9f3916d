import { targetAccess } from "../policy/access.ts";
import { parseSlug, parseTarget } from "../policy/names.ts";
import { matchRoute } from "../policy/route.ts";
import type { DirectoryRecord } from "../policy/record.ts";
import type { EdgePorts, EdgeSettings, Fetch } from "./ports.ts";
import type { LaneLoad } from "./lane-load.ts";
import { proxyToTarget } from "./lane-proxy.ts";
import { recordOrRefusal } from "./tenant-host.ts";
import { refuse, type Visit } from "./visit.ts";

/**
 * `relay.<base>`: connectors and node agents dial in here where no path route leads straight to the relay's Workers (the local stack), and
 * programs reach targets at `/relay/{tenant}/{target}/...` (P01). All tenants share this origin, so no cookies pass and pages are sandboxed (D16).
 */
export async function answerRelayHost(
  visit: Visit,
  ports: EdgePorts,
  settings: EdgeSettings,
  load: LaneLoad,
): Promise<Response> {
  const direct = directRoute(visit.rawPath, ports);
  if (direct !== null) return await passThrough(visit, direct);

  const [, mode, tenant, target, rest] = /^\/([^/]*)\/([^/]*)\/([^/]*)(\/.*)?$/.exec(visit.rawPath) ?? [];
  if (mode === "relay" && tenant !== undefined && target !== undefined) {
    return sandboxed(await answerProgram(visit, tenant, target, rest ?? "/", ports, settings, load));
  }
  if (mode === "queue" || mode === "trace") {
    return refuse(visit, "not-found", `The ${mode} address is not part of this version; use /relay.`);
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
      return null;
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

async function answerProgram(
  visit: Visit,
  tenantSegment: string,
  targetSegment: string,
  rest: string,
  ports: EdgePorts,
  settings: EdgeSettings,
  load: LaneLoad,
): Promise<Response> {
  const target = parseTarget(targetSegment.toLowerCase());
  if (!target.ok) return refuse(visit, "unknown-target", "This is not a possible name of a target.");
  // Only to refuse paths that climb: "/relay/acme/echo/..%2f..%2fglobex/..." must not depend on who decodes it.
  if (matchRoute([], rest).kind === "ambiguous") {
    return refuse(visit, "bad-request", "The path has dot segments, which a proxy and a target may read differently.");
  }
  const record = await findTenant(visit, tenantSegment.toLowerCase(), ports, settings);
  if (record instanceof Response) return record;
  if (targetAccess(record, target.value) !== "public") {
    return refuse(visit, "unauthorized", "This target is for signed-in members; use its own host.", {
      "www-authenticate": `Bearer realm="relay"`,
    });
  }
  return await proxyToTarget(
    visit,
    record,
    {
      target: target.value,
      prefix: `/relay/${tenantSegment}/${targetSegment}`,
      path: rest,
      withoutCookies: true,
    },
    ports,
    load,
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

function sandboxed(response: Response): Response {
  // An answer to an upgrade is no document; and its headers are not ours to change.
  if (response.status === 101) return response;
  response.headers.append("content-security-policy", "sandbox");
  response.headers.set("x-content-type-options", "nosniff");
  return response;
}
