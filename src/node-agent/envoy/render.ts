import { isIP } from "node:net";
import type { NodeTenant } from "../../protocol/node-channel.ts";
import { HEADER } from "../../protocol/headers.ts";
import { LIMITS } from "../limits.ts";
import { mqttClusterName } from "./mqtt.ts";
import { NAMES_BY_IPV4_FIRST } from "./resources.ts";
import type {
  ClusterConfig,
  HeaderMatch,
  RenderedTenant,
  RouteConfig,
  ScopeConfig,
  UpstreamHttpOptions,
} from "./resources.ts";
import { HOST_HEADER, PROBE_HEADER, SCOPE_HEADER, TENANT_HEADER, VIA_HEADER } from "./names.ts";

/**
 * A tenant as Envoy resources: one scope per host with its routes inline, one cluster per service that a route uses. Pure.
 */

/** Where a service listens now. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What the probe of a revision answers: proof that Envoy's workers route by it. */
export const probeAnswer = (tenantId: string, revision: number): string => `${tenantId}/${revision}`;

/** `endpoints` by service name, of those that run. `forMasters`: masters come here, too; default: nobody but the edge does. */
export function renderTenant(
  tenant: NodeTenant,
  endpoints: ReadonlyMap<string, Endpoint>,
  forMasters = false,
): RenderedTenant {
  const clusters = new Map<string, ClusterConfig>();
  const routes: RouteConfig[] = [];
  const http2 = new Set(tenant.services.flatMap(({ name, protocol }) => (protocol === "h2c" ? [name] : [])));
  // Envoy takes the first route that matches: longest prefix first.
  const byLength = tenant.routes.toSorted(
    (a, b) => b.prefix.length - a.prefix.length || (a.prefix < b.prefix ? -1 : 1),
  );
  for (const { prefix, service, rewrite, open } of byLength) {
    // A master that is behind may still send visitors here; the edge alone knows who may come in.
    if (forMasters && open !== true)
      for (const { name, match } of matchesOf(prefix, undefined))
        routes.push({
          name: `closed${name}`,
          match: { ...match, headers: [FROM_MASTER] },
          direct_response: { status: 503 },
        });
    const endpoint = endpoints.get(service);
    if (endpoint === undefined) {
      // Switched off. The local reply for 503 says the rest.
      for (const { name, match } of matchesOf(prefix, undefined))
        routes.push({ name: `stopped${name}`, match, direct_response: { status: 503 } });
      continue;
    }
    const name = clusterName(tenant.tenantId, service, endpoint);
    const cluster = http2.has(service)
      ? renderCluster(`${name}/h2c`, endpoint, UPSTREAM_HTTP2)
      : renderCluster(name, endpoint, UPSTREAM_HTTP);
    clusters.set(cluster.name, cluster);
    const action = {
      cluster: cluster.name,
      timeout: { seconds: 0 },
      idle_timeout: { seconds: LIMITS.routeIdleTimeoutSeconds },
      ...(rewrite?.host === undefined ? { host_rewrite_header: HOST_HEADER } : { host_rewrite_literal: rewrite.host }),
      ...(http2.has(service) && { retry_policy: retryOn("connect-failure,refused-stream") }),
    };
    for (const { name, match, prefixRewrite } of matchesOf(prefix, rewrite?.prefix)) {
      const route = prefixRewrite === null ? action : { ...action, prefix_rewrite: prefixRewrite };
      // Only we say that an error is ours: the edge trusts this header of a node.
      routes.push({ name: `service${name}`, match, route, response_headers_to_remove: [HEADER.error] });
    }
  }
  const probe = probeAnswer(tenant.tenantId, tenant.revision);
  const hosts = [...new Set(tenant.hosts.map((host) => host.toLowerCase()))].toSorted();
  const broker = tenant.services.find(({ protocol }) => protocol === "mqtt");
  const brokerAt = broker === undefined ? undefined : endpoints.get(broker.name);
  const scopes = hosts.map((host) => {
    const tunnels = forMasters && brokerAt !== undefined ? [renderBrokerTunnel(host, tenant.tenantId)] : [];
    return renderScope(host, tenant.tenantId, probe, [...tunnels, ...routes]);
  });
  if (brokerAt !== undefined)
    for (const name of hosts.map(mqttClusterName)) clusters.set(name, renderCluster(name, brokerAt, null));
  return { clusters: [...clusters.values()], scopes };
}

/** Only where the service has got nothing of the request. */
const retryOn = (what: string) => ({ retry_on: what, num_retries: { value: LIMITS.connectRetries } });

const FROM_MASTER: HeaderMatch = { name: VIA_HEADER, present_match: true };

/** A device's connection, as a master hands it on: a tunnel that ends here. */
const renderBrokerTunnel = (host: string, tenantId: string): RouteConfig => ({
  name: "mqtt",
  match: {
    connect_matcher: {},
    headers: [FROM_MASTER, { name: TENANT_HEADER, string_match: { exact: tenantId } }],
  },
  route: {
    cluster: mqttClusterName(host),
    timeout: { seconds: 0 },
    idle_timeout: { seconds: LIMITS.mqttIdleTimeoutSeconds },
    upgrade_configs: [{ upgrade_type: "CONNECT", enabled: { value: true }, connect_config: {} }],
  },
});

interface RouteMatch {
  readonly name: string;
  readonly match: RouteConfig["match"];
  /** Null: the path goes on as it came. */
  readonly prefixRewrite: string | null;
}

/** Envoy puts the new prefix in the place of just the characters that matched, so their last slash must be alike. */
function matchesOf(prefix: string, rewritten: string | undefined): readonly RouteMatch[] {
  if (rewritten === undefined || rewritten === prefix) {
    const match = prefix === "/" ? { prefix } : { path_separated_prefix: prefix };
    return [{ name: prefix, match, prefixRewrite: null }];
  }
  if (prefix === "/") return [{ name: prefix, match: { prefix }, prefixRewrite: `${rewritten}/` }];
  if (rewritten !== "/") return [{ name: prefix, match: { path_separated_prefix: prefix }, prefixRewrite: rewritten }];
  return [
    { name: `${prefix}/`, match: { prefix: `${prefix}/` }, prefixRewrite: "/" },
    { name: prefix, match: { path: prefix }, prefixRewrite: "/" },
  ];
}

/**
 * The name holds the endpoint (and the protocol, where it is not HTTP/1.1), so that a cluster never changes under its name: a moved service gets a new cluster beside the old one, the
 * scope switches from one to the other in one step, and a refused revision has touched nothing of the one that is served.
 */
const clusterName = (tenantId: string, service: string, { address, port }: Endpoint): string =>
  `t/${tenantId}/${service}@${address}:${port}`;

const UPSTREAM_HTTP: UpstreamHttpOptions = {
  common_http_protocol_options: { idle_timeout: { seconds: LIMITS.upstreamIdleTimeoutSeconds } },
  explicit_http_config: { http_protocol_options: {} },
};

/** No pings: many gRPC servers close connections whose client pings more than once in five minutes. */
const UPSTREAM_HTTP2: UpstreamHttpOptions = {
  common_http_protocol_options: { idle_timeout: { seconds: LIMITS.upstreamIdleTimeoutSeconds } },
  explicit_http_config: {
    http2_protocol_options: {
      max_concurrent_streams: { value: LIMITS.serviceStreams },
      initial_stream_window_size: { value: LIMITS.linkStreamWindowBytes },
      initial_connection_window_size: { value: LIMITS.linkConnectionWindowBytes },
      allow_connect: true,
    },
  },
};

export function renderCluster(
  name: string,
  { address, port }: Endpoint,
  http: UpstreamHttpOptions | null,
): ClusterConfig {
  // Something that looks like an address but is none is left to Envoy to refuse, instead of asking DNS for it.
  const isAddress = isIP(address) !== 0 || /^[\d.]+$/.test(address);
  return {
    name,
    ...(isAddress ? { type: "STATIC" } : { type: "STRICT_DNS", dns_lookup_family: NAMES_BY_IPV4_FIRST }),
    connect_timeout: { seconds: LIMITS.connectTimeoutSeconds },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address, port_value: port } } } }] }],
    },
    upstream_http_options: http,
  };
}

/** The name is a pure function of the key: Envoy 1.40 loses a key's name after a rejected update, and a second name could take the host over. */
export const scopeName = (host: string): string => `t/${host}`;

function renderScope(host: string, tenantId: string, probe: string, routes: readonly RouteConfig[]): ScopeConfig {
  const name = scopeName(host);
  return {
    name,
    key: { fragments: [{ string_key: host }] },
    route_configuration: {
      name,
      virtual_hosts: [
        {
          name: host,
          domains: ["*"],
          // Not the host header: Envoy removes before it rewrites, so services see it beside the same Host.
          request_headers_to_remove: [SCOPE_HEADER, TENANT_HEADER, PROBE_HEADER, VIA_HEADER],
          // Said once for all routes: 3 KiB a tenant.
          retry_policy: retryOn("connect-failure"),
          routes: [
            renderProbe(probe),
            // Who was let in by another tenant's rules is not let in by this one's.
            {
              name: "another-tenant",
              match: { prefix: "/", headers: [isNot(tenantId)] },
              direct_response: { status: 403 },
            },
            ...routes,
            { name: "no-route", match: { prefix: "/" }, direct_response: { status: 404 } },
          ],
        },
      ],
    },
  };
}

/** Tells the agent which revision is served. */
export const renderProbe = (answer: string): RouteConfig => ({
  name: "probe",
  match: { prefix: "/", headers: [{ name: PROBE_HEADER, present_match: true }] },
  direct_response: { status: 200, body: { inline_string: answer } },
});

const isNot = (tenantId: string): HeaderMatch => ({
  name: TENANT_HEADER,
  string_match: { exact: tenantId },
  invert_match: true,
  treat_missing_header_as_empty: true,
});
