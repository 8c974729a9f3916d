import type { PublicJwk } from "../../protocol/jwk.ts";
import type { ClusterConfig, RenderedTenant } from "./render.ts";
import {
  renderProofFilterConfig,
  renderPublicListener,
  socketAddress,
  typed,
  type EnvoyPorts,
  type Json,
} from "./static.ts";

/**
 * Everything that Envoy acknowledged, as one static file: `envoy -c FILE` serves these tenants with no agent, until their services move or the
 * edge's keys change. Pure. It holds no secret: the keys in it are public.
 */
export function renderExport(
  node: { readonly nodeId: string; readonly node: string },
  ports: EnvoyPorts,
  proofKeys: readonly PublicJwk[],
  tenants: readonly RenderedTenant[],
): Json {
  const scopes = tenants.flatMap((tenant) => tenant.scopes).map(toProtoJson);
  const clusters = tenants.flatMap((tenant) => tenant.clusters).map(staticCluster);
  return {
    node: { id: node.node, cluster: "causeway-node" },
    admin: { address: socketAddress("127.0.0.1", ports.adminPort) },
    static_resources: {
      listeners: [
        renderPublicListener(ports, {
          scopes: { scoped_route_configurations_list: { scoped_route_configurations: scopes } },
          proofFilter: { typed_config: renderProofFilterConfig(node.nodeId, proofKeys) },
        }),
      ],
      clusters,
    },
  };
}

const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

function staticCluster({ upstream_http_options, ...cluster }: ClusterConfig): Json {
  const options = toProtoJson(upstream_http_options);
  return {
    ...fieldsOf(toProtoJson(cluster)),
    typed_extension_protocol_options: { [HTTP_OPTIONS]: typed(HTTP_OPTIONS, fieldsOf(options)) },
  };
}

/** What goes over the wire as messages has forms of its own in JSON (protobuf's JSON mapping): durations are text, wrapped numbers are bare. */
function toProtoJson(value: unknown): Json {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  if (Array.isArray(value)) return value.map(toProtoJson);
  if (typeof value !== "object" || value === null) return null;
  const entries = Object.entries(value);
  const [[name, only] = ["", null]] = entries;
  if (entries.length === 1 && typeof only === "number") {
    if (name === "seconds") return `${only}s`;
    if (name === "value") return only;
  }
  return Object.fromEntries(entries.map(([key, each]) => [key, toProtoJson(each)]));
}

const fieldsOf = (json: Json): { readonly [key: string]: Json } =>
  typeof json === "object" && json !== null && !isList(json) ? json : {};
const isList = (json: Json): json is readonly Json[] => Array.isArray(json);
