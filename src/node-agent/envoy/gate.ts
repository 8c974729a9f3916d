import { typed, type Json } from "./json.ts";
import type { EnvoyPaths } from "./static.ts";

/**
 * A listener that nobody calls, whose (empty) routes the agent gives out only when Envoy has taken all tenants. Until then no port of Envoy is
 * open: by itself it would begin with the first bulk of tenants, and answer for the others that it doesn't know them. At a hot restart it
 * also decides when the new Envoy takes over from the old one, or that it doesn't.
 */
export const GATE = "gate";

export const renderGateListener = ({
  gateSocket,
}: Pick<EnvoyPaths, "gateSocket">): { readonly [key: string]: Json } => ({
  name: GATE,
  address: { pipe: { path: gateSocket, mode: 0o600 } },
  filter_chains: [
    {
      filters: [
        {
          name: "envoy.filters.network.http_connection_manager",
          typed_config: typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", {
            stat_prefix: GATE,
            rds: {
              route_config_name: GATE,
              config_source: { ads: {}, resource_api_version: "V3", initial_fetch_timeout: "0s" },
            },
            http_filters: [
              {
                name: "envoy.filters.http.router",
                typed_config: typed("envoy.extensions.filters.http.router.v3.Router", {}),
              },
            ],
          }),
        },
      ],
    },
  ],
});
