import type { PublicJwk } from "../../protocol/jwk.ts";
import { PROOF_ISSUER, PROOF_LIFETIME_SECONDS } from "../../protocol/proof.ts";
import { HEADER } from "../../protocol/headers.ts";
import { LIMITS } from "../limits.ts";
import { fromFile, socketAddress, typed, type Json } from "./json.ts";
import { renderGateListener } from "./gate.ts";
import {
  ADS,
  early,
  listener,
  listenersFile,
  MANAGER,
  manager,
  overwrite,
  remove,
  renderProbeListener,
  repliesToEdge,
  ROUTER,
  SCOPES_FROM_AGENT,
} from "./manager.ts";
import { renderMastersListener, type MastersPort } from "./masters-listener.ts";
import { renderMqttListener } from "./mqtt.ts";
import { certificateFrom, downstreamTls } from "./tls.ts";
import { HOST_HEADER, PROBE_HEADER, PROOF_FILTER, SCOPE_HEADER, TENANT_HEADER, VIA_HEADER } from "./names.ts";

/**
 * The part of Envoy's configuration that does not depend on tenants, as JSON files: bootstrap (read once), listeners (LDS) and the proof
 * filter (extension config discovery), both watched by Envoy and replaced by rename. Pure.
 */
export interface EnvoyPaths {
  /** Unix socket of the agent's xDS server. */
  readonly xdsSocket: string;
  /** Unix socket on which Envoy answers probes. */
  readonly probeSocket: string;
  /** Unix socket between a master's listener for MQTT and its scopes. */
  readonly tunnelSocket: string;
  /** Unix socket of the listener that holds Envoy back until it is loaded (gate.ts). */
  readonly gateSocket: string;
  readonly listenersDir: string;
  readonly filtersDir: string;
  readonly secretsDir: string;
}
export interface EnvoyPorts {
  readonly address: string;
  readonly port: number;
  /** Admin interface, on loopback only. */
  readonly adminPort: number;
  /** Whether the public listener speaks TLS, and where MQTT over TLS is taken (null: nowhere). */
  readonly tls: boolean;
  readonly mqttPort: number | null;
  /** Where masters reach this node. Default: nowhere. */
  readonly masters?: MastersPort | null;
}

export const LISTENERS_FILE = "listeners.json";
export const PROOF_FILTER_FILE = "proof-filter.json";

/**
 * Statistics that say nothing of a service with one endpoint and no health check of Envoy's, but are made at once: a seventh of the memory of a
 * node with 10,000 tenants.
 */
const OF_ONE_ENDPOINT = String.raw`cluster\.(?:t|mqtt)/.*\.(?:membership_[a-z]+|warming_state|default\.total_match_count)`;

/** `clusters`: beside those that come from the agent. */
export function renderBootstrap(
  nodeName: string,
  ports: EnvoyPorts,
  paths: EnvoyPaths,
  clusters: readonly Json[] = [],
): Json {
  return {
    node: { id: nodeName, cluster: "causeway-node" },
    admin: { address: socketAddress("127.0.0.1", ports.adminPort) },
    // Statistics and per-worker clusters are made on first use: most tenants are quiet most of the time.
    deferred_stat_options: { enable_deferred_creation_stats: true },
    cluster_manager: { enable_deferred_cluster_creation: true },
    // Not every five seconds, which stops the main thread for a tenth of a second at 10,000 tenants: there is nowhere to flush them to.
    stats_flush_on_admin: true,
    stats_config: { stats_matcher: { exclusion_list: { patterns: [{ safe_regex: { regex: OF_ONE_ENDPOINT } }] } } },
    overload_manager: {
      resource_monitors: [
        {
          name: "envoy.resource_monitors.global_downstream_max_connections",
          typed_config: typed(
            "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            { max_active_downstream_connections: LIMITS.downstreamConnections },
          ),
        },
      ],
    },
    dynamic_resources: {
      ads_config: {
        api_type: "DELTA_GRPC",
        transport_api_version: "V3",
        set_node_on_first_message_only: true,
        grpc_services: [
          {
            envoy_grpc: {
              cluster_name: "xds",
              retry_policy: { retry_back_off: { base_interval: "0.1s", max_interval: "1s" } },
            },
          },
        ],
      },
      cds_config: ADS,
      lds_config: fromFile(paths.listenersDir, LISTENERS_FILE),
    },
    static_resources: {
      clusters: [
        {
          name: "xds",
          type: "STATIC",
          connect_timeout: "1s",
          typed_extension_protocol_options: {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
              "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
              {
                explicit_http_config: {
                  http2_protocol_options: { connection_keepalive: { interval: "30s", timeout: "5s" } },
                },
              },
            ),
          },
          load_assignment: {
            cluster_name: "xds",
            endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: paths.xdsSocket } } } }] }],
          },
        },
        ...clusters,
      ],
    },
  };
}

/** Where a listener's tenants and its proof filter come from: from the agent, or in the file itself. */
export interface ListenerSources {
  readonly scopes: { readonly [key: string]: Json };
  readonly proofFilter: { readonly [key: string]: Json };
  /** Its side of TLS; null: none. */
  readonly transportSocket: Json;
}

/** The listener that the edge calls. */
export const renderPublicListener = (ports: EnvoyPorts, sources: ListenerSources): { readonly [key: string]: Json } =>
  listener("public", socketAddress(ports.address, ports.port), publicManager(sources), sources.transportSocket);

/** The LDS file: the public listener, and the probe listener on a Unix socket that only the agent can open. */
export function renderListeners(ports: EnvoyPorts, paths: EnvoyPaths): Json {
  const { address, mqttPort } = ports;
  const open = renderPublicListener(ports, {
    scopes: SCOPES_FROM_AGENT,
    proofFilter: {
      config_discovery: {
        config_source: fromFile(paths.filtersDir, PROOF_FILTER_FILE),
        type_urls: ["type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"],
      },
    },
    transportSocket: ports.tls ? downstreamTls(["h2", "http/1.1"], certificateFrom(paths), false) : null,
  });
  const mqtt = mqttPort === null ? [] : [renderMqttListener({ address, port: mqttPort }, certificateFrom(paths))];
  const masters = ports.masters ? [renderMastersListener(ports.masters, paths)] : [];
  return listenersFile([open, renderProbeListener(paths), renderGateListener(paths), ...mqtt, ...masters]);
}

/** The proof filter as a file of its own, watched by Envoy: changing keys closes no connection, and Envoy needs nobody to verify. */
export function renderProofFilter(nodeId: string, keys: readonly PublicJwk[], version: string): Json {
  return {
    version_info: version,
    resources: [
      typed("envoy.config.core.v3.TypedExtensionConfig", {
        name: PROOF_FILTER,
        typed_config: renderProofFilterConfig(nodeId, keys),
      }),
    ],
  };
}

/**
 * The filter that lets nothing pass without a proof for this node. Its verified `host` claim becomes scope key and authority. Keys
 * are inline.
 */
export const renderProofFilterConfig = (nodeId: string, keys: readonly PublicJwk[]): Json =>
  typed("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", {
    providers: {
      edge: {
        issuer: PROOF_ISSUER,
        audiences: [nodeId],
        from_headers: [{ name: HEADER.proof }],
        forward: false,
        require_expiration: true,
        // Counted from now, so a clock that lags behind the edge's must not refuse a fresh proof.
        max_lifetime: `${PROOF_LIFETIME_SECONDS + LIMITS.proofClockSkewSeconds}s`,
        clock_skew_seconds: LIMITS.proofClockSkewSeconds,
        claim_to_headers: [
          { header_name: SCOPE_HEADER, claim_name: "host" },
          { header_name: HOST_HEADER, claim_name: "host" },
          { header_name: TENANT_HEADER, claim_name: "tenant" },
        ],
        clear_route_cache: true,
        local_jwks: { inline_string: JSON.stringify({ keys: keys.length > 0 ? keys : [NOBODY] }) },
      },
    },
    rules: [{ match: { prefix: "/" }, requires: { provider_name: "edge" } }],
    // No WWW-Authenticate header: it would name this node's address to the visitor.
    strip_failure_response: true,
  });

/** The example key of RFC 8037 with its id changed: no proof names it, so before the first keys arrive everything is refused. */
const NOBODY: PublicJwk = {
  kty: "OKP",
  crv: "Ed25519",
  x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  kid: "nobody",
};

const publicManager = ({ scopes, proofFilter }: ListenerSources): Json =>
  typed(MANAGER, {
    ...manager(scopes),
    stat_prefix: "public",
    upgrade_configs: [{ upgrade_type: "websocket" }],
    http2_protocol_options: { allow_connect: true, max_concurrent_streams: 100 },
    early_header_mutation_extensions: early([
      remove(PROBE_HEADER),
      remove(HOST_HEADER),
      remove(TENANT_HEADER),
      remove(VIA_HEADER),
      overwrite(SCOPE_HEADER, "*"),
    ]),
    http_filters: [{ name: PROOF_FILTER, ...proofFilter }, ROUTER],
    local_reply_config: repliesToEdge(),
  });
