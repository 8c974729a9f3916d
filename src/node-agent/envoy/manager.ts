import { HEADER } from "../../protocol/headers.ts";
import { PROBLEMS, type ErrorCode } from "../../shared/problem.ts";
import { LIMITS } from "../limits.ts";
import { SCOPED_ROUTES, SCOPE_HEADER } from "./names.ts";
import { typed, type Json } from "./json.ts";

/** What all HTTP listeners of nodes and masters have in common. */
type Fields = { readonly [key: string]: Json };

export const listener = (name: string, address: Json, typedManager: Json, transportSocket: Json): Fields => ({
  name,
  address,
  filter_chains: [
    {
      filters: [{ name: "envoy.filters.network.http_connection_manager", typed_config: typedManager }],
      ...(transportSocket === null ? {} : { transport_socket: transportSocket }),
    },
  ],
});

/** From the agent's xDS server. Envoy waits for the first answer. */
export const ADS: Fields = { ads: {}, resource_api_version: "V3", initial_fetch_timeout: "0s" };

/** The LDS file. */
export const listenersFile = (listeners: readonly Fields[]): Json => ({
  version_info: "1",
  resources: listeners.map((each) => typed("envoy.config.listener.v3.Listener", each)),
});

export const MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

export const SCOPES_FROM_AGENT: Fields = {
  rds_config_source: { ads: {}, resource_api_version: "V3" },
  scoped_rds: { scoped_rds_config_source: ADS },
};

export const manager = (scopes: Fields): Fields => ({
  codec_type: "AUTO",
  // The edge has written the forwarding headers; Envoy neither trusts an address in them nor changes them, nor the path (services see it as
  // the visitor sent it; the edge's URL parser has removed dot segments).
  use_remote_address: false,
  skip_xff_append: true,
  normalize_path: false,
  merge_slashes: false,
  generate_request_id: false,
  server_header_transformation: "PASS_THROUGH",
  max_request_headers_kb: LIMITS.requestHeadersKib,
  request_headers_timeout: `${LIMITS.requestHeadersTimeoutSeconds}s`,
  scoped_routes: {
    name: SCOPED_ROUTES,
    scope_key_builder: { fragments: [{ header_value_extractor: { name: SCOPE_HEADER, index: 0 } }] },
    ...scopes,
  },
});

export const ROUTER: Json = {
  name: "envoy.filters.http.router",
  typed_config: typed("envoy.extensions.filters.http.router.v3.Router", { suppress_envoy_headers: true }),
};

/** Only the probe route can be asked for here: no upgrade, and the scope key is the agent's. On a Unix socket that only the agent can open. */
export const renderProbeListener = ({ probeSocket }: { readonly probeSocket: string }): Fields =>
  listener(
    "probe",
    { pipe: { path: probeSocket, mode: 0o600 } },
    typed(MANAGER, { ...manager(SCOPES_FROM_AGENT), stat_prefix: "probe", http_filters: [ROUTER] }),
    null,
  );

/** Before anything routes: whatever a caller says about scope, authority or probes is gone. */
export const early = (mutations: readonly Json[]): Json => [
  {
    name: "own-headers",
    typed_config: typed("envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation", { mutations }),
  },
];
export const remove = (name: string): Json => ({ remove: name });
export const overwrite = (key: string, value: string): Json => ({ append: setTo(key, value) });

const setTo = (key: string, value: string): Json => ({
  header: { key, value },
  append_action: "OVERWRITE_IF_EXISTS_OR_ADD",
});

type Reply = readonly [status: number, code: ErrorCode, detail: string, flag?: string];

const SERVICE_REPLIES: readonly Reply[] = [
  [502, "not-available", "The service gave no valid answer."],
  // Its circuit breaker: as many requests to one service of a tenant are under way, and wait, as may (Envoy's defaults, 1,024 of each).
  [503, "rate-limited", "Too many requests to this service are under way. Try again in a moment.", "UO"],
  [503, "not-available", "The service can't be reached right now. Try again in a moment."],
  [504, "node-timeout", "The service did not answer in time."],
  [413, "body-too-large", "The request is too large."],
  [400, "bad-request", "The request is not valid HTTP."],
];

const NO_ROUTE: Reply = [404, "no-route", "No route of this tenant matches the path."];
const REFUSED = "The tenant's node refused the request. Try again in a moment.";

/** Errors that a node's Envoy makes itself, as problem details with our codes and nothing of its own words. Services' errors pass untouched. */
export const repliesToEdge = (): Json =>
  localReplies([
    [401, "unauthorized", "This node answers only to the platform's edge."],
    [403, "forbidden", "The proof is not for this node or not valid."],
    [404, "unknown-host", "This node does not serve the host.", "NR"],
    NO_ROUTE,
    ...SERVICE_REPLIES,
  ]);

/** The same to a master, which passes them on as they are: what is between the two is no business of the visitor's. */
export const repliesToMaster = (): Json =>
  localReplies([
    [403, "node-unreachable", REFUSED],
    [404, "node-unreachable", REFUSED, "NR"],
    NO_ROUTE,
    ...SERVICE_REPLIES,
  ]);

const localReplies = (replies: readonly Reply[]): Json => ({
  mappers: replies.map(([status, code, detail, flag]) =>
    replyMapper(code, detail, [isStatus(status), ...(flag === undefined ? [] : [hasFlags(flag)])]),
  ),
});

export const isStatus = (status: number): Json => ({
  status_code_filter: {
    comparison: { op: "EQ", value: { default_value: status, runtime_key: "causeway.local-reply" } },
  },
});
export const hasFlags = (...flags: readonly string[]): Json => ({ response_flag_filter: { flags } });

/** The answer in place of one of Envoy's own that all filters match. `page`: for browsers, with Envoy's placeholders. Default: problem details. */
export function replyMapper(code: ErrorCode, detail: string, filters: readonly Json[], page?: string): Json {
  const [only, ...others] = filters;
  const { status, title } = PROBLEMS[code];
  return {
    filter: only !== undefined && others.length === 0 ? only : { and_filter: { filters } },
    status_code: status,
    headers_to_add: [setTo(HEADER.error, code), setTo("cache-control", "no-store")],
    body_format_override:
      page === undefined
        ? {
            content_type: "application/problem+json",
            json_format: {
              type: `https://causeway.dev/errors#${code}`,
              title,
              status,
              detail,
              code,
              requestId: `%REQ(${HEADER.requestId})%`,
            },
          }
        : { content_type: "text/html; charset=utf-8", text_format_source: { inline_string: page } },
  };
}
