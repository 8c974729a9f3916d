/** What the agent sends Envoy of a tenant, in Envoy's own shapes (v3) with its field names; xds/xds.proto has the same fields. */
export interface ScopeConfig {
  readonly name: string;
  readonly key: { readonly fragments: readonly { readonly string_key: string }[] };
  readonly route_configuration: { readonly name: string; readonly virtual_hosts: readonly VirtualHostConfig[] };
}
export interface VirtualHostConfig {
  readonly name: string;
  readonly domains: readonly string[];
  readonly request_headers_to_remove: readonly string[];
  /** Of routes that have none. */
  readonly retry_policy?: RetryPolicy;
  readonly routes: readonly RouteConfig[];
}
export type HeaderMatch =
  | { readonly name: string; readonly present_match: true }
  | { readonly name: string; readonly string_match: { readonly exact: string } }
  | {
      readonly name: string;
      readonly string_match: { readonly exact: string };
      readonly invert_match: true;
      readonly treat_missing_header_as_empty: true;
    };
interface RetryPolicy {
  readonly retry_on: string;
  readonly num_retries: { readonly value: number };
  readonly per_try_timeout?: Duration;
}
/** In place of whatever came. */
interface HeaderToSet {
  readonly header: { readonly key: string; readonly value: string };
  readonly append_action: "OVERWRITE_IF_EXISTS_OR_ADD";
}
export interface RouteConfig {
  readonly name: string;
  readonly match: {
    readonly prefix?: string;
    readonly path?: string;
    readonly path_separated_prefix?: string;
    /** A request for a tunnel (CONNECT), which no other match takes. */
    readonly connect_matcher?: Record<string, never>;
    readonly headers?: readonly HeaderMatch[];
  };
  readonly route?: {
    readonly cluster: string;
    readonly timeout: Seconds;
    readonly idle_timeout: Seconds;
    readonly host_rewrite_header?: string;
    readonly host_rewrite_literal?: string;
    readonly prefix_rewrite?: string;
    readonly retry_policy?: RetryPolicy;
    readonly upgrade_configs?: readonly {
      readonly upgrade_type: "CONNECT";
      readonly enabled?: { readonly value: true };
      /** The tunnel ends here, and its bytes go to the cluster as they are. */
      readonly connect_config?: Record<string, never>;
    }[];
  };
  readonly request_headers_to_add?: readonly HeaderToSet[];
  readonly response_headers_to_remove?: readonly string[];
  readonly direct_response?: { readonly status: number; readonly body?: { readonly inline_string: string } };
}
/**
 * Of names that have both kinds of addresses. Envoy's own way is IPv6 only: what listens at 127.0.0.1 or 0.0.0.0 is not at `localhost` then,
 * nor is a machine whose network has no IPv6.
 */
export const NAMES_BY_IPV4_FIRST = "V4_PREFERRED";

export interface ClusterConfig {
  readonly name: string;
  readonly circuit_breakers?: {
    readonly thresholds: readonly {
      readonly max_connections: { readonly value: number };
      readonly max_pending_requests: { readonly value: number };
      readonly max_requests: { readonly value: number };
    }[];
  };
  readonly type: "STATIC" | "STRICT_DNS";
  /** Absent for an address. */
  readonly dns_lookup_family?: typeof NAMES_BY_IPV4_FIRST;
  readonly connect_timeout: Seconds;
  readonly load_assignment: {
    readonly cluster_name: string;
    readonly endpoints: readonly {
      readonly lb_endpoints: readonly {
        readonly endpoint: { readonly address: { readonly socket_address: { address: string; port_value: number } } };
      }[];
    }[];
  };
  /** Null: no HTTP is spoken to it. */
  readonly upstream_http_options: UpstreamHttpOptions | null;
  /** Absent: no TLS. */
  readonly upstream_tls?: UpstreamTls;
}
export interface UpstreamHttpOptions {
  readonly common_http_protocol_options: { readonly idle_timeout: Seconds };
  readonly explicit_http_config:
    | { readonly http_protocol_options: Record<string, never> }
    | { readonly http2_protocol_options: Http2Options };
}
export interface Http2Options {
  readonly max_concurrent_streams: { readonly value: number };
  readonly initial_stream_window_size: { readonly value: number };
  readonly initial_connection_window_size: { readonly value: number };
  readonly allow_connect: boolean;
  /** Absent: no pings. */
  readonly connection_keepalive?: { readonly interval: Seconds; readonly timeout: Seconds };
}
/** UpstreamTlsContext. The secrets come from files that Envoy watches. */
export interface UpstreamTls {
  readonly sni: string;
  readonly common_tls_context: {
    readonly tls_params: {
      readonly tls_minimum_protocol_version: "TLSv1_3";
      readonly tls_maximum_protocol_version: "TLSv1_3";
    };
    readonly alpn_protocols: readonly string[];
    readonly tls_certificate_sds_secret_configs: readonly SecretSource[];
    readonly combined_validation_context: {
      readonly default_validation_context: {
        readonly match_typed_subject_alt_names: readonly {
          readonly san_type: "DNS" | "IP_ADDRESS" | "URI";
          readonly matcher: { readonly exact: string };
        }[];
      };
      readonly validation_context_sds_secret_config: SecretSource;
    };
  };
}
export interface SecretSource {
  readonly name: string;
  readonly sds_config: {
    readonly path_config_source: { readonly path: string; readonly watched_directory: { readonly path: string } };
    readonly resource_api_version: "V3";
  };
}
interface Duration {
  readonly seconds: number;
  readonly nanos?: number;
}
export interface Seconds {
  readonly seconds: number;
}
export interface RenderedTenant {
  readonly clusters: readonly ClusterConfig[];
  readonly scopes: readonly ScopeConfig[];
}
