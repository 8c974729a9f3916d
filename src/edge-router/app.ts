import { Hono } from "hono";
import { continueTrace, isWebSocketUpgrade } from "../policy/headers.ts";
import { canonicalHost, isHostField, parseHost } from "../policy/host.ts";
import { HEADER } from "../protocol/headers.ts";
import { declaredLength } from "./body.ts";
import { createLaneLoad } from "./lane-load.ts";
import { LIMITS } from "./limits.ts";
import type { EdgePorts, EdgeSettings } from "./ports.ts";
import { answerRelayHost } from "./relay-host.ts";
import { answerTargetHost, answerTenantHost } from "./tenant-host.ts";
import { refuse, splitUrl, type Visit } from "./visit.ts";

/**
 * The edge: every host of the platform arrives here. Which part answers depends on the host alone; a host that belongs to nobody is
 * answered by the portal in place (D1), and nothing is ever sent to a node by default.
 */
export function createEdge(ports: EdgePorts, settings: EdgeSettings): Hono {
  const load = createLaneLoad(ports.now, () => randomFraction(ports.random), LIMITS.laneLeaseMs);

  async function answer(visit: Visit): Promise<Response> {
    if (visit.request.method === "TRACE") return refuse(visit, "bad-request", "TRACE is not passed on.");
    if (visit.body !== null && isGetOrHead(visit.request.method)) {
      // RFC 9110, section 9.3.1: it has no meaning, and smuggling lives from hops that disagree on it. Neither dropped nor sent on.
      return refuse(visit, "bad-request", "A GET or HEAD has no body here; send it with POST or leave it out.");
    }
    const { parsedHost } = visit;
    // The runtime makes the URL from the Host header; where a proxy in front or an absolute-form target made them differ, nobody guesses.
    const header = visit.request.headers.get("host");
    if (header !== null && !isHostField(header)) {
      return refuse(visit, "bad-request", "The Host header is not a host with or without a port.");
    }
    const named = header === null ? null : canonicalHost(header);
    if (parsedHost.kind !== "malformed" && named !== null && named !== parsedHost.host) {
      return refuse(visit, "bad-request", "The request names two different hosts.");
    }
    if (parsedHost.kind === "relay") return await answerRelayHost(visit, ports, settings, load);
    let answered: Response | null = null;
    if (parsedHost.kind === "tenant" || parsedHost.kind === "custom") {
      answered = await answerTenantHost(visit, parsedHost.host, ports, settings, load);
    } else if (parsedHost.kind === "target") {
      answered = await answerTargetHost(visit, parsedHost, ports, settings, load);
    }
    return answered ?? (await askPortal(visit));
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

  async function answerAndLog(request: Request, waitUntil: Visit["waitUntil"]): Promise<Response> {
    const startedAtMs = ports.now();
    const visit = visitOf(request, waitUntil, ports, settings);
    let response: Response;
    try {
      response = await answer(visit);
    } catch (error) {
      ports.log.error("request failed", { requestId: visit.requestId, error: String(error) });
      response = refuse(visit, "internal-error", "Something went wrong on our side. Quote the request's id.");
    }
    ports.log.info("request", {
      requestId: visit.requestId,
      trace: visit.traceparent.slice(3, 35),
      method: request.method,
      host: visit.parsedHost.kind === "malformed" ? null : visit.parsedHost.host,
      status: response.status,
      code: response.headers.get(HEADER.error),
      firstByteMs: ports.now() - startedAtMs,
      ...visit.seen,
    });
    return response;
  }

  const app = new Hono();
  app.all("*", (c) => answerAndLog(c.req.raw, (work) => c.executionCtx.waitUntil(work)));
  return app;
}

function visitOf(request: Request, waitUntil: Visit["waitUntil"], ports: EdgePorts, settings: EdgeSettings): Visit {
  const { authority, rawPath, rawQuery } = splitUrl(request.url);
  return {
    request,
    body: isGetOrHead(request.method) && declaredLength(request.headers) === 0 ? null : request.body,
    requestId: ports.newId("req"),
    traceparent: continueTrace(request.headers.get("traceparent"), ports.random),
    parsedHost: parseHost(authority, settings.baseDomains),
    hostWithPort: authority.toLowerCase().replace(/\.(?=:|$)/, ""),
    scheme: request.url.startsWith("https:") ? "https" : "http",
    rawPath,
    rawQuery,
    clientAddress:
      settings.clientAddressHeader === null ? LOOPBACK_ADDRESS : request.headers.get(settings.clientAddressHeader),
    isWebSocket: isWebSocketUpgrade(request.method, request.headers),
    waitUntil,
    seen: {},
  };
}

const LOOPBACK_ADDRESS = "127.0.0.1";

const isGetOrHead = (method: string): boolean => method === "GET" || method === "HEAD";

function randomFraction(random: (bytes: Uint8Array) => void): number {
  const bytes = new Uint8Array(1);
  random(bytes);
  return (bytes[0] ?? 0) / 256;
}
