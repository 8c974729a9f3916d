import type { CertificateFiles } from "../certificate.ts";
import type { PublicJwk } from "../../protocol/jwk.ts";
import type { ClusterConfig, RenderedTenant } from "./resources.ts";
import { socketAddress, typed, type Json } from "./json.ts";
import { renderMqttListener } from "./mqtt.ts";
import { renderProofFilterConfig, renderPublicListener, type EnvoyPorts } from "./static.ts";
import { certificateIn, downstreamTls } from "./tls.ts";

/**
 * Everything that Envoy acknowledged, as one static file: `envoy -c FILE` serves these tenants with no agent, until their services move or the
 * edge's keys change. Pure. It holds no secret: the keys in it are public.
 */
export function renderExport(
  node: { readonly nodeId: string; readonly node: string },
  ports: EnvoyPorts,
  certificateFiles: CertificateFiles | null,
  proofKeys: readonly PublicJwk[],
  tenants: readonly RenderedTenant[],
): Json {
  const scopes = tenants.flatMap((tenant) => tenant.scopes).map(toProtoJson);
  const clusters = tenants.flatMap((tenant) => tenant.clusters).map(staticCluster);
  const { mqttPort } = ports;
  const certificate =
    certificateFiles === null ? null : certificateIn(certificateFiles.certificateFile, certificateFiles.keyFile);
  return {
    node: { id: node.node, cluster: "causeway-node" },
    admin: { address: socketAddress("127.0.0.1", ports.adminPort) },
    static_resources: {
      listeners: [
        renderPublicListener(ports, {
          scopes: { scoped_route_configurations_list: { scoped_route_configurations: scopes } },
          proofFilter: { typed_config: renderProofFilterConfig(node.nodeId, proofKeys) },
          transportSocket: certificate === null ? null : downstreamTls(["h2", "http/1.1"], certificate, false),
        }),
        ...(certificate === null || mqttPort === null
          ? []
          : [renderMqttListener({ address: ports.address, port: mqttPort }, certificate)]),
      ],
      clusters,
    },
  };
}

const HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

function staticCluster({ upstream_http_options, upstream_tls: _masters, ...cluster }: ClusterConfig): Json {
  const fields = fieldsOf(toProtoJson(cluster));
  if (upstream_http_options === null) return fields;
  const options = typed(HTTP_OPTIONS, fieldsOf(toProtoJson(upstream_http_options)));
  return { ...fields, typed_extension_protocol_options: { [HTTP_OPTIONS]: options } };
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
