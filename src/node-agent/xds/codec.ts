import { hash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader";
import type { ServiceDefinition } from "@grpc/grpc-js";
import type {
  ClusterConfig,
  RenderedTenant,
  ScopeConfig,
  UpstreamHttpOptions,
  UpstreamTls,
} from "../envoy/resources.ts";
import type { Resource, TenantUnit } from "./planner.ts";

/** Rendered resources to the bytes that go to Envoy, by the proto subset beside this file. */
const protos = loadSync(fileURLToPath(new URL("./xds.proto", import.meta.url)), { keepCase: true, longs: Number });
const PACKAGE = "envoy.service.discovery.v3.";

const isMessage = (found: unknown): found is MessageTypeDefinition<object, object> =>
  typeof found === "object" && found !== null && "serialize" in found;

const encoder = (name: string): ((value: object) => Buffer) => {
  const found = protos[PACKAGE + name];
  if (!isMessage(found)) throw new Error(`xds.proto has no message ${name}`);
  return (value) => found.serialize(value);
};

const isService = (found: unknown): found is ServiceDefinition =>
  typeof found === "object" && found !== null && "DeltaAggregatedResources" in found;

/** The gRPC service that Envoy's `ads_config` calls. */
export function adsService(): ServiceDefinition {
  const found = protos[`${PACKAGE}AggregatedDiscoveryService`];
  if (!isService(found)) throw new Error("xds.proto has no AggregatedDiscoveryService");
  return found;
}

const encodeScope = encoder("ScopedRouteConfiguration");
const encodeCluster = encoder("Cluster");
const encodeUpstreamOptions = encoder("UpstreamHttpOptions");
const encodeUpstreamTls = encoder("UpstreamTlsContext");

/** The routes of a listener that has none (envoy/gate.ts). */
export const encodeEmptyRoutes: (name: string) => Uint8Array = (name) => encodeRoutes({ name, virtual_hosts: [] });
const encodeRoutes = encoder("RouteConfiguration");

const UPSTREAM_OPTIONS_TYPE = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/** In one call: an object for each of 40,000 hashes would be a third of an agent's start with 10,000 tenants. */
const sha256 = (content: string | Uint8Array): string => hash("sha256", content);

/** The version is a hash of the content, so it is the same after a restart of the agent and nothing unchanged is sent again. */
const resource = (name: string, bytes: Uint8Array): Resource => ({ name, version: sha256(bytes).slice(0, 16), bytes });

const packUpstreamOptions = (options: UpstreamHttpOptions) => ({
  [UPSTREAM_OPTIONS_TYPE]: {
    type_url: `type.googleapis.com/${UPSTREAM_OPTIONS_TYPE}`,
    value: encodeUpstreamOptions(options),
  },
});

const packUpstreamTls = (tls: UpstreamTls) => ({
  name: "envoy.transport_sockets.tls",
  typed_config: {
    type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    value: encodeUpstreamTls(tls),
  },
});

const encodeClusterConfig = ({ upstream_http_options: http, upstream_tls: tls, ...rest }: ClusterConfig): Uint8Array =>
  encodeCluster({
    ...rest,
    ...(http !== null && { typed_extension_protocol_options: packUpstreamOptions(http) }),
    ...(tls !== undefined && { transport_socket: packUpstreamTls(tls) }),
  });

const encodeScopeConfig = (scope: ScopeConfig): Uint8Array => encodeScope(scope);

/** All resources of one revision of a tenant; `hash` names the revision and their content. */
export function encodeTenant(tenantId: string, revision: number, rendered: RenderedTenant): TenantUnit {
  const clusters = rendered.clusters.map((cluster) => resource(cluster.name, encodeClusterConfig(cluster)));
  const scopes = rendered.scopes.map((scope) => resource(scope.name, encodeScopeConfig(scope)));
  const content = [...clusters, ...scopes].map(({ name, version }) => `${name}\0${version}\n`);
  const all = sha256(`${revision}\n${content.join("")}`).slice(0, 32);
  return { tenantId, revision, hash: all, clusters, scopes };
}
