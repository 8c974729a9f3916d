import { createHttp1Server } from "../../http1/server.ts";
import type { Http1Server, Http1ServerOptions } from "../../http1/server-types.ts";
import type { Exchange, ExchangeEvents, Refusal } from "../../http1/types.ts";
import { problemParts } from "../../policy/problem-response.ts";
import { newId } from "../../shared/ids.ts";
import type { Logger } from "../../shared/log.ts";
import { ATTRIBUTE, describeRequest, endHttpSpan } from "../../shared/tracing/http-span.ts";
import type { Span } from "../../shared/tracing/span.ts";
import type { Tracer } from "../../shared/tracing/tracer.ts";
import { createAttempts } from "../admission/attempts.ts";
import { PAIR_ATTEMPTS, SWEEP_MS, FAILED_TOKENS } from "../limits.ts";
import { serviceTokenOf } from "./access.ts";
import { accessTokensFor, createAdmissions } from "./admission.ts";
import { startAdmin, type Admin } from "./admin.ts";
import { carry, type CarryPorts } from "./carry.ts";
import type { Address, RelayConfig } from "./config.ts";
import { createConnectors } from "./connectors.ts";
import { createDirectory, type Directory } from "./directory.ts";
import { answerOwnEndpoint } from "./endpoints.ts";
import type { LaneName } from "./lane-choice.ts";
import {
  brokerLimits,
  COLLECT_EVERY_BYTES,
  CONNECTIONS_MAX,
  DRAIN_QUIET_MS,
  DRAIN_SETTLE_MAX_MS,
  DRAIN_SETTLE_MS,
  SOFTWARE,
  SLABS,
} from "./limits.ts";
import type { LogLines } from "./log-lines.ts";
import { createMetrics } from "./metrics.ts";
import { createPeer } from "./peer.ts";
import { PEER_HEADER, verifyPassedOn } from "./peer-proof.ts";
import { handshakeFault } from "./handshake.ts";
import { destinationOf } from "./routing.ts";
import { createSlabs } from "../../shared/slabs.node.ts";
import { createCollector } from "../../shared/collector.node.ts";
import { createTenants } from "./tenants.ts";
import { tlsOptions, type ReplaceableTls } from "./tls.ts";
import { headerOf, newVisit, refuse, type Visit } from "./visit.ts";
import { createVisitorSockets } from "./visitor-socket.ts";

/** A running relay on Node: visitors' and connectors' side of one lane, or of both. */
export interface Relay {
  /** As listened on; the file may say port 0. */
  readonly addresses: { readonly visitors: Address; readonly connectors: Address; readonly admin: Address | null };
  /** Rights, routes, limits and certificates count at once. What needs a restart is answered by name. */
  reload(config: RelayConfig): string[];
  readonly draining: boolean;
  /** Says no on /readyz, lets load balancers see it, empties the lanes, and ends when nothing is under way or after the grace. */
  drain(graceMs: number): Promise<{ readonly inFlight: number }>;
  /** At once. */
  stop(): Promise<void>;
}

export interface RelayPorts {
  readonly log: Logger;
  /** Access log. */
  readonly lines: LogLines;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number;
  readonly random: () => number;
  /** Null: traces are off. The caller ends it. */
  readonly tracer: Tracer | null;
}

/** Rejects when the system refuses an address (`code`: EADDRINUSE and the like). */
export async function startRelay(first: RelayConfig, lanes: readonly LaneName[], ports: RelayPorts): Promise<Relay> {
  const { log, now } = ports;
  let config = first;
  let draining = false;
  /** Of a visitor's own request, not of one that the peer passed on. */
  let lastVisitMs = 0;
  const slabs = createSlabs(SLABS);
  const collector = createCollector(COLLECT_EVERY_BYTES);
  const { passed } = collector;
  const budget = { totalBytes: config.memoryBudgetBytes, committedBytes: 0 };
  const limits = brokerLimits(config.memoryBudgetBytes);

  const tenants = createTenants(lanes, ({ slug }, lane) => ({
    now: ports.monotonic,
    wallNow: now,
    random: ports.random,
    // One message a turn of the loop: a microtask would run after every frame that was read.
    defer: (run) => void setImmediate(run),
    newSessionId: () => newId("ses"),
    software: SOFTWARE,
    log: log.with({ tenant: slug, lane }),
    online: (link) =>
      log.info("connector-online", {
        tenant: slug,
        lane,
        connector: link.connectorId,
        instance: link.instanceId,
        session: link.sessionId,
      }),
    offline: (link, reason) =>
      log.info("connector-offline", {
        tenant: slug,
        lane,
        connector: link.connectorId,
        instance: link.instanceId,
        session: link.sessionId,
        reason,
      }),
    wake: () => undefined, // the sweep below never stops
    async renew(link, token) {
      const tenant = tenants.bySlug.get(slug);
      return tenant === undefined
        ? { ok: false, reason: "the tenant is gone" }
        : await connectors.renew(tenant, link, token);
    },
    ended: (record) => metrics.ended(slug, lane, record),
    allocate: (bytes) => slabs.allocate(bytes),
    budget,
    limits,
  }));
  tenants.apply(config.tenants);
  let directory: Directory = createDirectory(config, tenants.bySlug);
  const servers: Http1Server[] = [];
  const metrics = createMetrics(tenants, {
    connections: () => servers.reduce((sum, { connections }) => sum + connections, 0),
    draining: () => draining,
    spans: ports.tracer?.counts ?? null,
  });

  const ended = (exchange: Exchange, visit: Visit): void => {
    metrics.answered();
    if (visit.span !== null) endVisitSpan(visit.span, visit, exchange);
    if (!config.accessLog) return;
    const { request } = exchange;
    ports.lines.write(
      JSON.stringify({
        time: new Date(now()).toISOString(),
        level: "info",
        part: "relay",
        msg: "request",
        requestId: visit.requestId,
        trace: visit.traceparent.slice(3, 35),
        method: request.method,
        host: request.host,
        // Without the query: it may hold secrets of the target's.
        path: request.path.split("?", 1)[0],
        durationMs: now() - visit.startedMs,
        ...visit.seen,
      }),
    );
  };

  const admissions = createAdmissions(accessTokensFor(config.peer?.secret ?? null), now);
  const connectors = createConnectors({
    lanes,
    tenants: tenants.bySlug,
    admissions,
    slabs,
    passed,
    draining: () => draining,
    monotonic: ports.monotonic,
    log,
    ended,
  });
  const failedTokens = createAttempts(FAILED_TOKENS);
  const pairAttempts = createAttempts(PAIR_ATTEMPTS);
  const visitorSockets = createVisitorSockets(ports.monotonic);
  const peer = config.peer === null ? null : createPeer(config.peer.url, config.peer.secret, now);
  const carryPorts: CarryPorts = {
    lanes,
    peer: peer?.call ?? null,
    webSockets: visitorSockets.bridge,
    tracer: ports.tracer,
    passed,
    ended,
  };

  function visitOf(exchange: Exchange): Visit {
    const { request, remoteAddress, encrypted } = exchange;
    const proof = config.peer === null ? null : headerOf(request.headers, PEER_HEADER);
    const passedOn =
      proof === null || config.peer === null ? null : verifyPassedOn(proof, request, config.peer.secret, now());
    const startedMs = now();
    if (passedOn === null) lastVisitMs = startedMs;
    if (passedOn !== null) {
      const { clientAddress, scheme } = passedOn;
      return newVisit(exchange, { clientAddress, scheme, startedMs, peer: passedOn }, ports.tracer);
    }
    const claimed = config.addressHeader === null ? null : headerOf(request.headers, config.addressHeader);
    // Of a list the last one counts: the proxy in front of us has added it.
    const clientAddress = claimed?.split(",").at(-1)?.trim() || remoteAddress;
    const scheme = encrypted ? "https" : config.scheme;
    return newVisit(exchange, { clientAddress, scheme, startedMs, peer: null }, ports.tracer);
  }

  function onRequest(exchange: Exchange): ExchangeEvents {
    const visit = visitOf(exchange);
    const to = destinationOf(exchange.request, directory);
    switch (to.kind) {
      case "target": {
        const authorization = to.access === "token" ? headerOf(exchange.request.headers, "authorization") : null;
        if (to.access === "token" && serviceTokenOf(authorization, to.tenant.config.tokens, now()) === null) {
          visit.seen.tenant = to.tenant.slug;
          const headers = { "www-authenticate": `Bearer realm="${to.tenant.slug}"` };
          refuse(exchange, visit, "unauthorized", "Show a service token of this tenant: Authorization: Bearer.", {
            headers,
          });
          break;
        }
        const fault = exchange.request.upgrade === null ? null : handshakeFault(exchange.request.headers);
        if (fault !== null) {
          visit.seen.tenant = to.tenant.slug;
          refuse(exchange, visit, "bad-request", fault, { headers: { "sec-websocket-version": "13" } });
          break;
        }
        return carry(exchange, visit, to, carryPorts);
      }
      case "connect":
        return connectors.dial(exchange, visit, to.lane);
      case "endpoint":
        return answerOwnEndpoint(
          exchange,
          visit,
          {
            laneOf: async ({ slug, cluster }) => {
              const tenant = cluster === null ? tenants.bySlug.get(slug) : undefined;
              return tenant === undefined ? null : admissions.of(tenant);
            },
            clientAddress: visit.clientAddress,
            failedTokens,
            pairAttempts,
            now,
            software: SOFTWARE,
            warn: (message, fields) => log.warn(message, fields),
          },
          (error) => log.error("an endpoint failed", { error: String(error), requestId: visit.requestId }),
          ended,
        );
      case "refused": {
        const { code, detail, status } = to;
        refuse(exchange, visit, code, detail, status === undefined ? {} : { status });
      }
    }
    return { closed: () => ended(exchange, visit) };
  }

  const tls: ReplaceableTls | null = config.tls === null ? null : tlsOptions(config.tls);
  const options: Http1ServerOptions = {
    engine: config.engine,
    onRequest,
    onRefused,
    log,
    limits: { connections: CONNECTIONS_MAX },
    ...(tls === null ? {} : { tls: tls.options }),
  };
  const listen = async ({ host, port }: Address): Promise<Address> => {
    const server = createHttp1Server(options);
    const bound = await server.listen(port, host);
    servers.push(server);
    return { host, port: bound.port };
  };

  const sweep = setInterval(() => {
    const nowMs = now();
    for (const broker of tenants.brokers()) if (broker.busy || (broker.nextDueMs ?? Infinity) <= nowMs) broker.sweep();
  }, SWEEP_MS);
  const inFlight = (): number => [...tenants.brokers()].reduce((sum, broker) => sum + broker.inFlight, 0);

  let admin: Admin | null = null;
  const stop = async (): Promise<void> => {
    clearInterval(sweep);
    collector.close();
    connectors.close();
    visitorSockets.close();
    peer?.close();
    await Promise.all(servers.map((server) => server.close(0)));
    admin?.close();
    ports.lines.flush();
  };

  try {
    const visitors = await listen(config.listen.visitors);
    const own = config.listen.connectors;
    const isShared =
      own === null ||
      (own.host === config.listen.visitors.host && own.port === config.listen.visitors.port && own.port !== 0);
    const dialled = isShared ? visitors : await listen(own);
    if (config.listen.admin !== null) {
      admin = await startAdmin(config.listen.admin, { tenants, metrics, draining: () => draining, inFlight, lanes });
    }
    return {
      addresses: { visitors, connectors: dialled, admin: admin?.address ?? null },
      reload(next) {
        const restart = needsRestart(config, next);
        config = {
          ...next,
          listen: config.listen,
          engine: config.engine,
          memoryBudgetBytes: config.memoryBudgetBytes,
          peer: config.peer,
        };
        tenants.apply(config.tenants);
        directory = createDirectory(config, tenants.bySlug);
        if (config.tls !== null) tls?.replace(config.tls);
        return restart;
      },
      get draining() {
        return draining;
      },
      async drain(graceMs) {
        draining = true;
        const startedMs = now();
        const left = (): number => Math.max(0, graceMs - (now() - startedMs));
        const settled = (): boolean => {
          const passedMs = now() - startedMs;
          if (passedMs >= Math.min(DRAIN_SETTLE_MAX_MS, graceMs)) return true;
          return passedMs >= DRAIN_SETTLE_MS && now() - lastVisitMs >= DRAIN_QUIET_MS;
        };
        while (!settled()) await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
        for (const broker of tenants.brokers()) broker.drain(Math.floor(left()));
        const closing = Promise.all(servers.map((server) => server.close(left() + CLOSING_MS)));
        while (inFlight() > 0 && left() > 0) await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
        const remaining = inFlight();
        // First: their visitors are told of a restart, not of connectors that are gone.
        visitorSockets.close();
        connectors.close();
        await closing;
        await stop();
        return { inFlight: remaining };
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function endVisitSpan(span: Span, { scheme, requestId, seen }: Visit, { request }: Exchange): void {
  describeRequest(span, request.method, request.path);
  span.set(ATTRIBUTE.scheme, scheme);
  span.set(ATTRIBUTE.address, request.host.replace(/:[0-9]*$/, "").toLowerCase());
  span.set(ATTRIBUTE.requestId, requestId);
  span.set(ATTRIBUTE.tenant, seen.tenant);
  span.set(ATTRIBUTE.target, seen.target);
  span.set(ATTRIBUTE.lane, seen.lane);
  endHttpSpan(span, "server", seen.status, seen.code);
}

/** How often a drain looks whether it is over. */
const DRAIN_LOOK_MS = 50;
/** After that, what is left is cut: visitors' WebSockets have been told why by then. */
const CLOSING_MS = 200;

/** What the parser said no to: nobody's request, but an answer of ours all the same. */
function onRefused({ detail, status }: Refusal): { headers: [string, string][]; body: string } {
  const { headers, body } = problemParts(null, "bad-request", detail, newId("req"));
  // The status is the parser's; the body repeats it.
  return { headers: Object.entries(headers), body: JSON.stringify({ ...JSON.parse(body), status }) };
}

function needsRestart(old: RelayConfig, next: RelayConfig): string[] {
  const changed = (["listen", "engine", "memoryBudgetBytes", "peer"] as const).filter(
    (name) => JSON.stringify(old[name]) !== JSON.stringify(next[name]),
  );
  return (old.tls === null) === (next.tls === null) ? changed : [...changed, "tls"];
}
