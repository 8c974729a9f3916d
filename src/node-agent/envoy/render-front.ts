import type { Front, FrontRoute, NodeTenant } from "../../protocol/node-channel.ts";
import { LIMITS } from "../limits.ts";
import { linkToNode } from "./link-tls.ts";
import { TENANT_HEADER, VIA_HEADER } from "./names.ts";
import { probeAnswer, renderCluster, renderProbe, scopeName } from "./render.ts";
import type { ClusterConfig, Http2Options, RenderedTenant, RouteConfig, ScopeConfig } from "./resources.ts";

/**
 * A tenant as a master's resources: a scope per host, in which open routes lead to the cluster of the tenant's node. What is not there is the
 * edge's. Kept small, since a master has tens of thousands: a node's cluster is the same for all of its tenants. Pure.
 */
export function renderFront(tenant: NodeTenant, { node, routes, mqtt }: Front, secretsDir: string): RenderedTenant {
  const cluster = renderNodeCluster(node, secretsDir);
  const hosts = [...new Set(tenant.hosts.map((host) => host.toLowerCase()))].toSorted();
  const inside = [
    renderProbe(probeAnswer(tenant.tenantId, tenant.revision)),
    ...(mqtt ? [toBroker(tenant.tenantId, cluster.name)] : []),
    ...routes
      .toSorted(firstToMatch)
      .map((route) => (route.to === "node" ? toNode(route, tenant.tenantId, cluster.name) : leftToEdge(route.prefix))),
  ];
  // Nothing for the rest: the front filter sends on to the fallback scope what no route here is for.
  return {
    clusters: [cluster],
    scopes: hosts.map((host) => scope(host, { name: host, retry_policy: NODE_RETRY, routes: inside })),
  };
}

/** Bootstrap has it: the edge router. */
export const EDGE_CLUSTER = "edge";
/** Key of the scope for hosts that have none. */
export const FALLBACK_KEY = "*";
/** Names of routes to nodes are this and the tenant's id; the front filter knows both by it. */
export const TO_NODE = "node ";

/** What a master has beside its tenants: hosts that it does not know are the edge's. */
export const renderFallback = (): RenderedTenant => ({
  clusters: [],
  scopes: [scope(FALLBACK_KEY, { name: "any", routes: [TO_EDGE] })],
});

/** Envoy takes the first route that matches: the longest prefix, and of two with the same one the edge's. */
const firstToMatch = (a: FrontRoute, b: FrontRoute): number =>
  b.prefix.length - a.prefix.length || order(a.prefix, b.prefix) || order(a.to, b.to);
const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const scope = (
  key: string,
  host: Pick<ScopeConfig["route_configuration"]["virtual_hosts"][number], "name" | "routes" | "retry_policy">,
): ScopeConfig => ({
  name: scopeName(key),
  key: { fragments: [{ string_key: key }] },
  route_configuration: {
    name: scopeName(key),
    virtual_hosts: [{ domains: ["*"], request_headers_to_remove: [], ...host }],
  },
});

const matchOf = (prefix: string): RouteConfig["match"] =>
  prefix === "/" ? { prefix } : { path_separated_prefix: prefix };

const action = (cluster: string) => ({
  cluster,
  timeout: { seconds: 0 },
  idle_timeout: { seconds: LIMITS.routeIdleTimeoutSeconds },
});
/** Only where nothing was sent, or the other side said that it took nothing. */
const RETRY = { retry_on: "connect-failure,refused-stream", num_retries: { value: LIMITS.connectRetries } };
/** Of a try Envoy counts only until the answer's head, from the request's last byte on. */
const NODE_RETRY = { ...RETRY, per_try_timeout: { seconds: LIMITS.frontFirstByteSeconds } };

const TO_EDGE: RouteConfig = {
  name: "edge",
  match: { prefix: "/" },
  route: { ...action(EDGE_CLUSTER), retry_policy: RETRY },
};

/** Below an open route. Only its name counts: the filter sends the request on to the fallback scope. */
const leftToEdge = (prefix: string): RouteConfig => ({
  name: "edge",
  match: matchOf(prefix),
  direct_response: { status: 503 },
});

/** The name says the tenant, too: the filter tells the node, whose routes may be another tenant's by now. */
function toNode(
  { prefix, firstByteMs, h2c, forwardedPrefix }: FrontRoute,
  tenantId: string,
  cluster: string,
): RouteConfig {
  const perTry = firstByteMs === undefined ? {} : { per_try_timeout: milliseconds(firstByteMs) };
  const isOwn = firstByteMs !== undefined || h2c === true;
  return {
    name: `${TO_NODE}${tenantId}`,
    match: matchOf(prefix),
    route: { ...action(cluster), ...(isOwn && { retry_policy: { ...RETRY, ...perTry } }) },
    ...(forwardedPrefix !== undefined && {
      request_headers_to_add: [headerToSet("x-forwarded-prefix", forwardedPrefix)],
    }),
  };
}

const milliseconds = (ms: number) => ({
  seconds: Math.floor(ms / 1_000),
  ...(ms % 1_000 > 0 && { nanos: (ms % 1_000) * 1_000_000 }),
});

const headerToSet = (key: string, value: string) =>
  ({ header: { key, value }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" }) as const;

/** A device's connection: from the listener for MQTT as a tunnel, which the node ends at the broker. */
const toBroker = (tenantId: string, cluster: string): RouteConfig => ({
  name: "mqtt",
  match: { connect_matcher: {}, headers: [{ name: VIA_HEADER, present_match: true }] },
  route: {
    ...action(cluster),
    idle_timeout: { seconds: LIMITS.mqttIdleTimeoutSeconds },
    upgrade_configs: [{ upgrade_type: "CONNECT", enabled: { value: true } }],
  },
  request_headers_to_add: [headerToSet(TENANT_HEADER, tenantId)],
});

/** The name holds the address: a node that gets another one has a new cluster beside the old one until all its tenants have gone over. */
function renderNodeCluster({ id, at: { host, port } }: Front["node"], secretsDir: string): ClusterConfig {
  const name = `node/${id}@${host}:${port}`;
  const many = { value: LIMITS.linkRequests };
  return {
    ...renderCluster(
      name,
      { address: host, port },
      {
        common_http_protocol_options: { idle_timeout: { seconds: LIMITS.routeIdleTimeoutSeconds } },
        explicit_http_config: { http2_protocol_options: LINK_HTTP2 },
      },
    ),
    circuit_breakers: {
      thresholds: [{ max_connections: many, max_pending_requests: many, max_requests: many }],
    },
    upstream_tls: linkToNode(host, secretsDir),
  };
}

const LINK_HTTP2: Http2Options = {
  max_concurrent_streams: { value: LIMITS.linkStreams },
  initial_stream_window_size: { value: LIMITS.linkStreamWindowBytes },
  initial_connection_window_size: { value: LIMITS.linkConnectionWindowBytes },
  allow_connect: true,
  connection_keepalive: {
    interval: { seconds: LIMITS.linkPingSeconds },
    timeout: { seconds: LIMITS.linkPongSeconds },
  },
};
