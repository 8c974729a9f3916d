import type { RouteTimeouts } from "../policy/record.ts";
import { matchRoute } from "../policy/route.ts";
import type { TenantCall } from "../protocol/jobs.ts";
import type { Identity } from "./identity.ts";
import type { LaneLoad } from "./lane-load.ts";
import { proxyToNode } from "./node-proxy.ts";
import type { EdgePorts, EdgeSettings } from "./ports.ts";
import { recordOrRefusal, toTarget } from "./tenant-host.ts";
import { refuse, type Visit } from "./visit.ts";

/** A job's call as a request to its tenant's host. */
export function callRequest(
  { host, method, path, headers, body }: TenantCall,
  { publicScheme, publicPort }: Pick<EdgeSettings, "publicScheme" | "publicPort">,
): Request {
  const fields = new Headers(headers);
  // A known length lets the body be sent again to the other lane.
  if (body !== null) fields.set("content-length", String(new TextEncoder().encode(body).byteLength));
  const authority = publicPort === "" ? host : `${host}:${publicPort}`;
  return new Request(`${publicScheme}://${authority}${path}`, { method, headers: fields, body });
}

/**
 * A background job of a tenant calls a target or service of its own. The tenant must be active and have the host; rules for visitors do not
 * count, for whoever wrote the job could change them as well. Services learn which job calls by `causeway-job` and the signed identity.
 */
export async function answerTenantCall(
  visit: Visit,
  { host, tenantId, jobId, to, timeoutMs }: TenantCall,
  ports: EdgePorts,
  load: LaneLoad,
): Promise<Response> {
  const record = await recordOrRefusal(visit, host, ports);
  if (record instanceof Response) return record;
  if (record?.tenantId !== tenantId) return refuse(visit, "unknown-host", "The tenant does not have this host.");
  const identity: Identity = { kind: "job", jobId };
  const timeouts: RouteTimeouts = { firstByteMs: timeoutMs, totalMs: timeoutMs };
  if (to.kind === "target") {
    const request = {
      target: to.target,
      prefix: "",
      path: visit.rawPath,
      withoutCookies: false,
      timeouts,
      trace: false,
    };
    return await toTarget(visit, record, request, identity, ports, load);
  }
  const match = matchRoute(record.routes, visit.rawPath);
  if (match.kind !== "route" || match.route.to.kind !== "service" || match.route.to.service !== to.service)
    return refuse(visit, "no-route", `No route of the tenant leads from this path to its service ${to.service}.`);
  const { route } = match;
  visit.seen.route = route.prefix;
  const prefix = route.rewrite?.prefix === undefined || route.prefix === "/" ? "" : route.prefix;
  return await proxyToNode(visit, record, ports, { prefix, identity, firstByteMs: timeoutMs });
}
