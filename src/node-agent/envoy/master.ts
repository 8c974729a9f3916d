import { isIP } from "node:net";
import { problemPage } from "../../policy/error-page.ts";
import { HEADER } from "../../protocol/headers.ts";
import { problem, type ErrorCode } from "../../shared/problem.ts";
import { LIMITS } from "../limits.ts";
import { frontFilter, VISITOR_ID_HEADER } from "./front-filter.ts";
import { renderGateListener } from "./gate.ts";
import { socketAddress, typed, type Json } from "./json.ts";
import {
  early,
  hasFlags,
  isStatus,
  listener,
  listenersFile,
  MANAGER,
  manager,
  overwrite,
  remove,
  renderProbeListener,
  replyMapper,
  ROUTER,
  SCOPES_FROM_AGENT,
} from "./manager.ts";
import { HOST_HEADER, PROBE_HEADER, SCOPE_HEADER, TENANT_HEADER, VIA_HEADER } from "./names.ts";
import { EDGE_CLUSTER, FALLBACK_KEY } from "./render-front.ts";
import { NAMES_BY_IPV4_FIRST } from "./resources.ts";
import { renderMqttListener } from "./mqtt.ts";
import type { EnvoyPaths, EnvoyPorts } from "./static.ts";
import { certificateFrom, downstreamTls } from "./tls.ts";

/**
 * The part of a master's Envoy configuration that does not depend on tenants: its listeners and the cluster of the edge router. Pure.
 */

/** Where everything goes that no node answers alone. */
export interface EdgeAddress {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  /** PEM of who signs for it; null: the machine's usual authorities. */
  readonly caFile: string | null;
}

/** Authorities that the system trusts, on Debian, Alpine and Ubuntu; on Fedora and RHEL a link of this name leads to theirs. */
const SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt";

/** Hosts go through unchanged; the connection is to the address that the operator gave, and TLS is that address's. */
export function renderEdgeCluster({ scheme, host, port, caFile }: EdgeAddress): Json {
  const isName = isIP(host) === 0;
  return {
    name: EDGE_CLUSTER,
    ...(isName ? { type: "STRICT_DNS", dns_lookup_family: NAMES_BY_IPV4_FIRST } : { type: "STATIC" }),
    connect_timeout: `${LIMITS.connectTimeoutSeconds}s`,
    circuit_breakers: MANY,
    load_assignment: {
      cluster_name: EDGE_CLUSTER,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(host, port) } }] }],
    },
    typed_extension_protocol_options: {
      [HTTP_OPTIONS]: typed(HTTP_OPTIONS, {
        common_http_protocol_options: { idle_timeout: `${LIMITS.upstreamIdleTimeoutSeconds}s` },
        explicit_http_config: { http_protocol_options: {} },
      }),
    },
    ...(scheme === "https" && {
      transport_socket: {
        name: "envoy.transport_sockets.tls",
        typed_config: typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", {
          ...(isName && { sni: host }),
          common_tls_context: {
            tls_params: { tls_minimum_protocol_version: "TLSv1_2", tls_maximum_protocol_version: "TLSv1_3" },
            validation_context: {
              trusted_ca: { filename: caFile ?? SYSTEM_AUTHORITIES },
              match_typed_subject_alt_names: [{ san_type: isName ? "DNS" : "IP_ADDRESS", matcher: { exact: host } }],
            },
          },
        }),
      },
    }),
  };
}
const MANY: Json = {
  thresholds: [
    {
      max_connections: LIMITS.linkRequests,
      max_pending_requests: LIMITS.linkRequests,
      max_requests: LIMITS.linkRequests,
    },
  ],
};
const TUNNEL_CLUSTER = "mqtt-tunnels";
const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/** The LDS file of a master. */
export function renderMasterListeners(ports: EnvoyPorts, paths: EnvoyPaths): Json {
  const { address, port, mqttPort } = ports;
  const certificate = certificateFrom(paths);
  const tls = ports.tls ? downstreamTls(["h2", "http/1.1"], certificate, false) : null;
  const open = listener("public", socketAddress(address, port), visitorManager(ports.tls ? "https" : "http"), tls);
  const mqtt =
    mqttPort === null
      ? []
      : [
          renderMqttListener({ address, port: mqttPort }, certificate, intoTunnel),
          listener("mqtt-tunnels", { pipe: { path: paths.tunnelSocket, mode: 0o600 } }, tunnelManager(), null),
        ];
  return listenersFile([open, renderProbeListener(paths), renderGateListener(paths), ...mqtt]);
}

const visitorManager = (scheme: "http" | "https"): Json =>
  typed(MANAGER, {
    ...manager(SCOPES_FROM_AGENT),
    stat_prefix: "public",
    // The connection's own address is the visitor's.
    use_remote_address: true,
    generate_request_id: true,
    upgrade_configs: [{ upgrade_type: "websocket" }],
    http2_protocol_options: { allow_connect: true, max_concurrent_streams: 100 },
    early_header_mutation_extensions: early([
      remove(VISITOR_ID_HEADER), // an absent value overwrites nothing
      overwrite(VISITOR_ID_HEADER, "%REQ(x-request-id)%"),
      remove("x-request-id"),
      remove(PROBE_HEADER),
      remove(HOST_HEADER),
      remove(TENANT_HEADER),
      remove(VIA_HEADER),
      overwrite(SCOPE_HEADER, FALLBACK_KEY),
      // The edge is told to believe these (docs/node.md).
      overwrite(HEADER.clientAddress, "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
      overwrite(HEADER.clientScheme, scheme),
    ]),
    http_filters: [
      {
        name: "causeway.front",
        typed_config: typed("envoy.extensions.filters.http.lua.v3.Lua", {
          default_source_code: { inline_string: frontFilter(scheme) },
        }),
      },
      ROUTER,
    ],
    local_reply_config: { mappers: visitorReplies() },
  });

/** Errors of the master's own, in the form that the visitor reads. */
function visitorReplies(): readonly Json[] {
  const toNode: Json = { header_filter: { header: { name: VIA_HEADER, present_match: true } } };
  const unreachable = hasFlags("UF", "UH", "UC", "URX", "LR", "UR", "UO", "NC");
  return [
    ...forBoth("node-timeout", "The tenant's node took too long to answer. Try again in a moment.", [
      isStatus(504),
      toNode,
    ]),
    ...forBoth("node-unreachable", "The tenant's node can't be reached right now. Try again in a moment.", [
      unreachable,
      toNode,
    ]),
    ...forBoth("not-available", "The platform can't be reached right now. Try again in a moment.", [unreachable]),
    ...forBoth("not-available", "The platform can't be reached right now. Try again in a moment.", [isStatus(503)]),
    ...forBoth("not-available", "The platform took too long to answer. Try again in a moment.", [isStatus(504)]),
    ...forBoth("body-too-large", "The request is too large.", [isStatus(413)]),
    ...forBoth("bad-request", "The request is not valid HTTP.", [isStatus(400)]),
    ...forBoth("bad-request", "This protocol can't be switched to here.", [isStatus(403)]),
    ...forBoth("not-found", "There is nothing at this address.", [isStatus(404)]),
  ];
}

/** A page for who asks for one, problem details for everybody else. */
function forBoth(code: ErrorCode, detail: string, filters: readonly Json[]): Json[] {
  const wantsPage: Json = {
    header_filter: { header: { name: "accept", string_match: { contains: "text/html" } } },
  };
  return [replyMapper(code, detail, [...filters, wantsPage], page(code, detail)), replyMapper(code, detail, filters)];
}

/** Percent signs begin Envoy's placeholders. */
const page = (code: ErrorCode, detail: string): string =>
  problemPage(problem(code, detail, REQUEST_ID))
    .replaceAll("%", "%%")
    .replaceAll(REQUEST_ID, `%REQ(${HEADER.requestId})%`);
const REQUEST_ID = "REQUEST-ID";

/**
 * A device's connection is decrypted and goes, as a tunnel (CONNECT), through the same scopes as HTTP: so it shares the cluster of its tenant's
 * node with everything else, instead of having one for every host. Each has a connection of its own to the listener of tunnels.
 */
const intoTunnel: readonly Json[] = [
  {
    name: "envoy.filters.network.tcp_proxy",
    typed_config: typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
      stat_prefix: "mqtts",
      cluster: TUNNEL_CLUSTER,
      idle_timeout: `${LIMITS.mqttIdleTimeoutSeconds}s`,
      tunneling_config: {
        hostname: "mqtt:1883",
        headers_to_add: [
          {
            header: { key: SCOPE_HEADER, value: "%REQUESTED_SERVER_NAME%" },
            append_action: "OVERWRITE_IF_EXISTS_OR_ADD",
          },
        ],
      },
    }),
  },
];

/** The way to the listener of tunnels. */
export const renderTunnelCluster = ({ tunnelSocket }: Pick<EnvoyPaths, "tunnelSocket">): Json => ({
  name: TUNNEL_CLUSTER,
  type: "STATIC",
  connect_timeout: `${LIMITS.connectTimeoutSeconds}s`,
  circuit_breakers: MANY,
  load_assignment: {
    cluster_name: TUNNEL_CLUSTER,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: tunnelSocket } } } }] }],
  },
});

const tunnelManager = (): Json =>
  typed(MANAGER, {
    ...manager(SCOPES_FROM_AGENT),
    stat_prefix: "mqtt-tunnels",
    upgrade_configs: [{ upgrade_type: "CONNECT" }],
    early_header_mutation_extensions: early([overwrite(VIA_HEADER, "mqtt")]),
    http_filters: [ROUTER],
  });
