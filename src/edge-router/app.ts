import { WHOLE_PLATFORM } from "../policy/record.ts";
import { HEADER } from "../protocol/headers.ts";
import type { TenantCall } from "../protocol/jobs.ts";
import { createAccessLog } from "./access-log.ts";
import { declaredLength } from "./content-length.ts";
import { refuseDuring } from "./guard.ts";
import { createHosts, hostProblem, type Hosts } from "./hosts.ts";
import { createRequestIds, type RequestIds } from "./ids.ts";
import { endEdgeSpan, enterTrace } from "./edge-span.ts";
import { createLaneLoad } from "./lane-load.ts";
import { LIMITS } from "./limits.ts";
import type { EdgePorts, EdgeSettings } from "./ports.ts";
import { answerRelayHost } from "./relay-host.ts";
import { withRenewal } from "./session-renewal.ts";
import { answerTenantCall, callRequest } from "./tenant-calls.ts";
import { answerTargetHost, answerTenantHost } from "./tenant-host.ts";
import { refuse, splitUrl, type Visit } from "./visit.ts";

export interface Edge {
  /** Always answers. `waitUntil` keeps the isolate at work behind the request. */
  fetch(request: Request, waitUntil: Visit["waitUntil"]): Promise<Response>;
  /** For a job of a tenant; always answers as well. */
  call(call: TenantCall, waitUntil: Visit["waitUntil"]): Promise<Response>;
}

/**
 * The edge: every host of the platform arrives here. Which part answers depends on the host alone; a host that belongs to nobody is
 * answered by the portal in place (D1), and nothing is ever sent to a node by default.
 */
export function createEdge(ports: EdgePorts, settings: EdgeSettings): Edge {
  const load = createLaneLoad(ports.now, Math.random, {
    maxTenants: LIMITS.tenantsWithLoad,
    homeSurplus: LIMITS.homeSurplus,
  });
  const hosts = createHosts(settings.baseDomains, LIMITS.cachedHosts);
  const ids = createRequestIds(ports.random);
  const logAccess = createAccessLog(ports.log, settings.accessLog);

  async function answer(visit: Visit): Promise<Response> {
    const { method, parsedHost } = visit;
    if (method === "TRACE") return refuse(visit, "bad-request", "TRACE is not passed on.");
    if (visit.body !== null && isGetOrHead(method)) {
      // RFC 9110, section 9.3.1: it has no meaning, and smuggling lives from hops that disagree on it. Neither dropped nor sent on.
      return refuse(visit, "bad-request", "A GET or HEAD has no body here; send it with POST or leave it out.");
    }
    if (visit.hostProblem !== null) return refuse(visit, "bad-request", visit.hostProblem);
    if (parsedHost.kind === "relay") return await answerRelayHost(visit, ports, settings, load);
    if (parsedHost.kind === "tenant" || parsedHost.kind === "custom") {
      return (await answerTenantHost(visit, parsedHost.host, ports, settings, load)) ?? (await askPortal(visit));
    }
    if (parsedHost.kind === "target") {
      return (await answerTargetHost(visit, parsedHost, ports, settings, load)) ?? (await askPortal(visit));
    }
    return (await closedForAll(visit)) ?? (await askPortal(visit));
  }

  /** Maintenance of the whole platform is the portal's too; here for hosts that nothing else is asked about. While the directory is away without a word of it the portal goes on. */
  async function closedForAll(visit: Visit): Promise<Response | null> {
    const found = await ports.directory.find(WHOLE_PLATFORM, visit.waitUntil);
    return found.kind === "record" && found.record.notice ? refuseDuring(visit, found.record.notice) : null;
  }

  async function askPortal(visit: Visit): Promise<Response> {
    visit.seen.route = "portal";
    const headers = new Headers(visit.request.headers);
    for (const name of visit.request.headers.keys()) if (name.startsWith("causeway-")) headers.delete(name);
    headers.set(HEADER.requestId, visit.requestId);
    if (visit.clientAddress !== null) headers.set(HEADER.clientAddress, visit.clientAddress);
    try {
      return await ports.fetchPortal(new Request(visit.request, { headers, redirect: "manual" }));
    } catch (error) {
      ports.log.error("the portal does not answer", { requestId: visit.requestId, error: String(error) });
      return refuse(visit, "not-available", "The portal does not answer right now. Try again in a moment.");
    }
  }

  function failed(visit: Visit, error: unknown): Response {
    ports.log.error("request failed", { requestId: visit.requestId, error: String(error) });
    return refuse(visit, "internal-error", "Something went wrong on our side. Quote the request's id.");
  }

  function ended(visit: Visit, response: Response, startedAtMs: number): Response {
    logAccess(visit, response, ports.now() - startedAtMs);
    if (visit.span !== null) endEdgeSpan(visit.span, visit, response);
    return response;
  }

  return {
    async fetch(request, waitUntil) {
      const startedAtMs = ports.now();
      const visit = visitOf(request, waitUntil, hosts, ids, ports, settings);
      let response: Response;
      try {
        const answered = await answer(visit);
        response = visit.session.renewal === undefined ? answered : await withRenewal(visit, answered, ports.now);
      } catch (error) {
        response = failed(visit, error);
      }
      return ended(visit, response, startedAtMs);
    },
    async call(call, waitUntil) {
      const startedAtMs = ports.now();
      const visit: Visit = {
        ...visitOf(callRequest(call, settings), waitUntil, hosts, ids, ports, settings),
        // Nobody visits: whatever the call's own headers say of that is not believed.
        scheme: settings.publicScheme,
        clientAddress: null,
        country: () => null,
      };
      try {
        return ended(visit, await answerTenantCall(visit, call, ports, load), startedAtMs);
      } catch (error) {
        return ended(visit, failed(visit, error), startedAtMs);
      }
    },
  };
}

function visitOf(
  request: Request,
  waitUntil: Visit["waitUntil"],
  hosts: Hosts,
  ids: RequestIds,
  { tracer }: Pick<EdgePorts, "tracer">,
  {
    clientAddressHeader,
    countryHeader,
    schemeHeader,
  }: Pick<EdgeSettings, "clientAddressHeader" | "countryHeader" | "schemeHeader">,
): Visit {
  const { url, method, headers } = request;
  const { authority, rawPath, rawQuery } = splitUrl(url);
  const host = hosts.read(authority);
  const inbound = headers.get("traceparent");
  const { traceparent, span } = enterTrace(tracer, ids.traceOf(inbound), inbound, method);
  return {
    request,
    method,
    body: bodyOf(request),
    requestId: ids.newRequestId(),
    traceparent,
    span,
    parsedHost: host.parsed,
    hostProblem: hostProblem(headers.get("host"), authority, host),
    hostWithPort: host.withPort,
    scheme: schemeOf(url, schemeHeader === null ? null : headers.get(schemeHeader)),
    rawPath,
    rawQuery,
    clientAddress: clientAddressHeader === null ? LOOPBACK_ADDRESS : headers.get(clientAddressHeader) || null,
    country: () => countryOf(request, countryHeader),
    waitUntil,
    session: {},
    seen: {},
  };
}

/** Null also for that of a GET or HEAD that is declared to have no bytes. */
function bodyOf({ body, method, headers }: Request): ReadableStream<Uint8Array> | null {
  return body !== null && isGetOrHead(method) && declaredLength(headers) === 0 ? null : body;
}

/** What Cloudflare says of an address that it can't place; Tor's exits are T1. */
const UNKNOWN_COUNTRY = "XX";

/** By the header that the platform in front overwrites, or by what Cloudflare's runtime says beside the request. */
function countryOf(request: Request, header: string | null): string | null {
  const said: unknown = header === null ? request.cf?.["country"] : request.headers.get(header);
  return typeof said === "string" && said !== UNKNOWN_COUNTRY && /^[A-Z][A-Z0-9]$/.test(said) ? said : null;
}

/** As the visitor asked: by the front that ended TLS, else by the address that we were asked under. */
const schemeOf = (url: string, said: string | null): "http" | "https" =>
  said === "https" || (said !== "http" && url.startsWith("https:")) ? "https" : "http";

const LOOPBACK_ADDRESS = "127.0.0.1";

const isGetOrHead = (method: string): boolean => method === "GET" || method === "HEAD";
