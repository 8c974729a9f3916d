import { isOpen, targetRequirement } from "../../policy/access.ts";
import { parseTarget } from "../../policy/names.ts";
import type { RouteTimeouts } from "../../policy/record.ts";
import { matchRoute, targetTimeouts } from "../../policy/route.ts";
import type { BrokerRequest } from "../core/types.ts";
import type { RequestHead } from "../../http1/types.ts";
import { isEndpoint } from "../admission/endpoints.ts";
import type { ErrorCode } from "../../shared/problem.ts";
import type { TenantConfig } from "./config.ts";
import type { Directory } from "./directory.ts";
import type { LaneName } from "./lane-choice.ts";
import type { Tenant } from "./tenants.ts";

/** What a request is for. */
export type Destination =
  | ToTarget
  | { readonly kind: "connect"; readonly lane: LaneName }
  | { readonly kind: "endpoint" }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly detail: string; readonly status?: number };

export interface ToTarget {
  readonly kind: "target";
  readonly tenant: Tenant;
  readonly target: string;
  /** What was cut off the path, "" for nothing. */
  readonly prefix: string;
  /** Path and query for the target, as they came. */
  readonly path: string;
  readonly access: "public" | "token";
  /** By the relay's own host, which all tenants share: no cookies either way, pages are sandboxed (D16). */
  readonly isShared: boolean;
  readonly trace: boolean;
  readonly timeouts: BrokerRequest["timeouts"];
}

const NO_TIMEOUTS: BrokerRequest["timeouts"] = { firstByteMs: null, idleMs: null, totalMs: null };
const timeoutsOf = (timeouts: RouteTimeouts | null | undefined): BrokerRequest["timeouts"] =>
  timeouts === null || timeouts === undefined
    ? NO_TIMEOUTS
    : { firstByteMs: timeouts.firstByteMs ?? null, idleMs: timeouts.idleMs ?? null, totalMs: timeouts.totalMs ?? null };
const refused = (code: ErrorCode, detail: string, status?: number): Destination => ({
  kind: "refused",
  code,
  detail,
  ...(status === undefined ? {} : { status }),
});
const AMBIGUOUS: Destination = refused(
  "bad-request",
  "The path can be read in more than one way (dot segments or encoded separators).",
);

/** Where a request goes, from its head and the configuration alone. */
export function destinationOf(head: RequestHead, directory: Directory): Destination {
  const owner = directory.ownerOf(head.host);
  if (head.method === "TRACE") return refused("bad-request", "TRACE is not passed on.");
  if (head.body === "stream" && (head.method === "GET" || head.method === "HEAD") && head.bodyBytes !== 0) {
    // RFC 9110, section 9.3.1: it has no meaning, and smuggling lives from hops that disagree on it. Neither dropped nor sent on.
    return refused("bad-request", "A GET or HEAD has no body here; send it with POST or leave it out.");
  }
  switch (owner.kind) {
    case "relay":
      return onRelayHost(head, directory);
    case "tenant":
      return onTenantHost(head.path, owner.tenant);
    case "target":
      return {
        kind: "target",
        tenant: owner.tenant,
        target: owner.target,
        prefix: "",
        path: head.path,
        access: accessOf(owner.tenant.config, owner.target),
        isShared: false,
        trace: false,
        timeouts: timeoutsOf(targetTimeouts(owner.tenant.config.routes, owner.target)),
      };
    case "malformed":
      return refused("bad-request", "The Host header is no name of a host.");
    case "unknown":
      break;
  }
  return refused("unknown-host", "No tenant has this host. Check the spelling.");
}

function onTenantHost(path: string, tenant: Tenant): Destination {
  const { pathname, query } = split(path);
  const match = matchRoute(tenant.config.routes, pathname);
  if (match.kind === "ambiguous") return AMBIGUOUS;
  if (match.kind === "none" || match.route.to.kind !== "target")
    return refused("no-route", "Nothing of this tenant is at this address. Check the path.");
  const { route, rest } = match;
  return {
    kind: "target",
    tenant,
    target: match.route.to.target,
    prefix: route.prefix === "/" ? "" : route.prefix,
    path: query === "" ? rest : rest + query,
    access: route.access === "member" ? "token" : "public",
    isShared: false,
    trace: false,
    timeouts: timeoutsOf(route.timeouts),
  };
}

function onRelayHost(head: RequestHead, directory: Directory): Destination {
  const { pathname, query } = split(head.path);
  if (pathname === "/connect/a" || pathname === "/connect/b")
    return { kind: "connect", lane: pathname === "/connect/a" ? "a" : "b" };
  if (isEndpoint(pathname)) return { kind: "endpoint" };
  const [, mode, slug, name, rest = "/"] = /^\/(relay|trace|queue)\/([^/]+)\/([^/]+)(\/.*)?$/.exec(pathname) ?? [];
  if (mode === undefined || slug === undefined || name === undefined)
    return refused("not-found", "There is nothing at this address of the relay.");
  if (mode === "queue")
    return refused("not-available", "Queued delivery is not part of this version; use /relay.", 501);
  const target = parseTarget(name.toLowerCase());
  if (!target.ok) return refused("unknown-target", "This is not a possible name of a target.");
  // Only to refuse paths that climb: "/relay/acme/echo/..%2f..%2fglobex/..." must not depend on who decodes it.
  if (matchRoute([], rest).kind === "ambiguous") return AMBIGUOUS;
  const tenant = directory.bySlug(slug.toLowerCase());
  if (tenant === undefined) return refused("unknown-host", "No tenant has this name.");
  if (mode === "trace" && !tenant.config.settings.tracing)
    return refused("forbidden", "Tracing is switched off for this tenant.");
  return {
    kind: "target",
    tenant,
    target: target.value,
    prefix: `/${mode}/${slug}/${name}`,
    path: rest + query,
    access: accessOf(tenant.config, target.value),
    isShared: true,
    trace: mode === "trace",
    timeouts: timeoutsOf(targetTimeouts(tenant.config.routes, target.value)),
  };
}

/** Of a target's own host and relay address: what the file says of it, and as strict as the strictest route to it. */
function accessOf(config: TenantConfig, target: string): "public" | "token" {
  const own = config.targetAccess.get(target) ?? config.defaultAccess;
  return own === "token" || !isOpen(targetRequirement(config.routes, target)) ? "token" : "public";
}

function split(path: string): { pathname: string; query: string } {
  const at = path.indexOf("?");
  return at === -1 ? { pathname: path, query: "" } : { pathname: path.slice(0, at), query: path.slice(at) };
}
