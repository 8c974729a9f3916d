import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findEnvoy } from "../../src/cli/local/envoy-binary.ts";
import { PACKAGE_ROOT } from "../../src/cli/local/paths.ts";
import { CliError, EXIT } from "../../src/cli/frame/exit.ts";
import { freePort } from "../core/children.ts";
import { keepChild } from "../core/kept-child.ts";
import type { Tunnel } from "./tunnel.ts";

/** Envoy as a plain proxy before the origin: parses and routes HTTP, but nothing is tunnelled. Two worker threads, as many as cores. */
export const envoyProxy: Tunnel = {
  key: "envoy",
  title: "Envoy as a plain proxy (no tunnel)",
  async start({ folder, origin }) {
    const binary = await findEnvoy({ cacheDir: join(PACKAGE_ROOT, "node_modules/.cache/causeway") });
    if (!binary.ok) throw new CliError(EXIT.environment, binary.error.reason, binary.error.remedy);
    const port = await freePort();
    const file = join(folder, "envoy.json");
    await writeFile(file, JSON.stringify(configuration(port, Number(new URL(origin.url).port))));
    const envoy = await keepChild("envoy", {
      name: "envoy-proxy",
      folder,
      command: binary.value,
      args: ["-c", file, "--concurrency", "2", "--use-dynamic-base-id", "-l", "error"],
    });
    return {
      path: {
        key: "envoy",
        title: this.title,
        kind: "yardstick",
        url: `http://127.0.0.1:${port}/`,
        headers: async () => ({}),
        processes: [envoy.counted, origin.counted],
        originUrl: origin.url,
        bulkPaceBytesPerSecond: 100e6,
      },
      stop: envoy.stop,
    };
  },
};

const at = (port: number) => ({ socket_address: { address: "127.0.0.1", port_value: port } });

function configuration(port: number, originPort: number): unknown {
  const filter = (name: string, type: string, more: object = {}) => ({
    name,
    typed_config: { "@type": `type.googleapis.com/envoy.extensions.filters.${type}`, ...more },
  });
  const manager = filter(
    "envoy.filters.network.http_connection_manager",
    "network.http_connection_manager.v3.HttpConnectionManager",
    {
      stat_prefix: "bench",
      upgrade_configs: [{ upgrade_type: "websocket" }],
      stream_idle_timeout: "0s",
      route_config: {
        virtual_hosts: [
          {
            name: "all",
            domains: ["*"],
            routes: [{ match: { prefix: "/" }, route: { cluster: "origin", timeout: "0s" } }],
          },
        ],
      },
      http_filters: [filter("envoy.filters.http.router", "http.router.v3.Router")],
    },
  );
  const endpoint = { endpoint: { address: at(originPort) } };
  const cluster = {
    name: "origin",
    type: "STATIC",
    connect_timeout: "5s",
    load_assignment: { cluster_name: "origin", endpoints: [{ lb_endpoints: [endpoint] }] },
    circuit_breakers: { thresholds: [{ max_connections: 10_000, max_pending_requests: 10_000, max_requests: 10_000 }] },
  };
  return {
    static_resources: {
      listeners: [{ address: at(port), filter_chains: [{ filters: [manager] }] }],
      clusters: [cluster],
    },
  };
}
