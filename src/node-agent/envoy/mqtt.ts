import { LIMITS } from "../limits.ts";
import { downstreamTls } from "./tls.ts";
import { socketAddress, typed, type Json } from "./json.ts";

/** A tenant's broker is the cluster of this name: the listener makes it from the server name that the device asks for. */
export const mqttClusterName = (host: string): string => `mqtt/${host}`;

/** To the cluster of the server name. */
const toBroker: readonly Json[] = [
  {
    name: "envoy.filters.network.set_filter_state",
    typed_config: typed("envoy.extensions.filters.network.set_filter_state.v3.Config", {
      on_new_connection: [
        {
          object_key: "envoy.tcp_proxy.cluster",
          format_string: { text_format_source: { inline_string: mqttClusterName("%REQUESTED_SERVER_NAME%") } },
        },
      ],
    }),
  },
  {
    name: "envoy.filters.network.tcp_proxy",
    typed_config: typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
      stat_prefix: "mqtts",
      // Never there: the filter before this one always names another.
      cluster: "none",
      idle_timeout: `${LIMITS.mqttIdleTimeoutSeconds}s`,
    }),
  },
];

/**
 * MQTT over TLS: the connection goes, decrypted, to the broker of the tenant whose host the client names (SNI, in lower case by Envoy). Without
 * a name, or with one that has no broker, there is no cluster, and the connection is closed before the handshake ends.
 */
export const renderMqttListener = (
  { address, port }: { readonly address: string; readonly port: number },
  certificate: { readonly [key: string]: Json },
  filters: readonly Json[] = toBroker,
): { readonly [key: string]: Json } => ({
  name: "mqtts",
  address: socketAddress(address, port),
  listener_filters: [
    {
      name: "envoy.filters.listener.tls_inspector",
      typed_config: typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", {}),
    },
  ],
  filter_chains: [
    {
      filters,
      transport_socket: downstreamTls(["mqtt"], certificate, true),
    },
  ],
});
