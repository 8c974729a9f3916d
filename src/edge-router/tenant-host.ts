import { decideAccess, targetAccess } from "../policy/access.ts";
import { isWebSocketUpgrade } from "../policy/headers.ts";
import { isNavigation } from "../policy/negotiate.ts";
import type { AccessMode, DirectoryRecord } from "../policy/record.ts";
import { matchRoute, targetTimeouts } from "../policy/route.ts";
import type { LaneLoad } from "./lane-load.ts";
import { proxyToTarget } from "./lane-proxy.ts";
import { proxyToNode } from "./node-proxy.ts";
import type { EdgePorts, EdgeSettings } from "./ports.ts";
import { currentSession, OWN_PATHS, ownPath, redirectToSignIn } from "./sign-in.ts";
import { refuse, type Visit } from "./visit.ts";

/**
 * A tenant's host: record, state, route, access, then node or target, in this order. Null: no tenant has the host.
 */
export async function answerTenantHost(
  visit: Visit,
  host: string,
  ports: EdgePorts,
  settings: EdgeSettings,
  load: LaneLoad,
): Promise<Response | null> {
  const record = await recordOrRefusal(visit, host, ports);
  if (record === null || record instanceof Response) return record;
  if (visit.rawPath.startsWith(OWN_PATHS)) return await ownPath(visit, record, ports);

  const match = matchRoute(record.routes, visit.rawPath);
  if (match.kind === "ambiguous") return refuseAmbiguous(visit);
  if (match.kind === "none") {
    return refuse(visit, "no-route", "Nothing of this tenant is at this address. Check the path.");
  }
  const { route, rest } = match;
  visit.seen.route = route.prefix;
  const refusal = await checkAccess(visit, record, route.access, ports, settings);
  if (refusal !== null) return refusal;
  const timeouts = route.timeouts ?? null;
  if (route.to.kind === "service") {
    return await proxyToNode(visit, record, ports, timeouts?.firstByteMs ?? settings.firstByteMs);
  }
  const prefix = route.prefix === "/" ? "" : route.prefix;
  const to = { target: route.to.target, prefix, path: rest, withoutCookies: false, timeouts, trace: false };
  return await proxyToTarget(visit, record, to, ports, load);
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
  const record = await recordOrRefusal(visit, parsed.tenantHost, ports);
  if (record === null || record instanceof Response) return record;
  if (visit.rawPath.startsWith(OWN_PATHS)) return await ownPath(visit, record, ports);

  const refusal = await checkAccess(visit, record, targetAccess(record, target), ports, settings);
  if (refusal !== null) return refusal;
  const timeouts = targetTimeouts(record.routes, target);
  const to = { target, prefix: "", path: visit.rawPath, withoutCookies: false, timeouts, trace: false };
  return await proxyToTarget(visit, record, to, ports, load);
}

/** The active record of a host, an answer that says why there is none, or null for an unknown host. */
export async function recordOrRefusal(
  visit: Visit,
  host: string,
  ports: Pick<EdgePorts, "directory">,
): Promise<DirectoryRecord | Response | null> {
  const found = await ports.directory.find(host, visit.waitUntil);
  if (found.kind === "unknown") return null;
  if (found.kind === "unavailable") {
    visit.seen.directory = "unavailable";
    return refuse(visit, "not-available", "We can't tell right now who serves this host. Try again in a moment.", {
      "retry-after": "5",
    });
  }
  const { record } = found;
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

/** Null when the visitor may go on. */
async function checkAccess(
  visit: Visit,
  record: DirectoryRecord,
  access: AccessMode,
  ports: EdgePorts,
  settings: EdgeSettings,
): Promise<Response | null> {
  if (access === "public") return null;
  const proven = await currentSession(visit, record, ports.verifySession);
  const claims = proven !== null && (await ports.liveSessions.isLive(proven.sid)) ? proven : null;
  const canSignIn =
    isNavigation(visit.method, visit.request.headers) && !isWebSocketUpgrade(visit.method, visit.request.headers);
  const decision = decideAccess(access, record, claims, Math.floor(ports.now() / 1000), canSignIn);
  if (decision.kind === "sign-in") return await redirectToSignIn(visit, ports, settings);
  if (decision.kind === "refuse") {
    return refuse(visit, "unauthorized", "Sign in with a browser first; this address is for members of the tenant.", {
      "www-authenticate": `Bearer realm="${record.host}"`,
    });
  }
  if (decision.accountId !== null) visit.seen.account = decision.accountId;
  return null;
}
