import type { AgentConfig } from "./config.ts";
import type { Json } from "./envoy/json.ts";
import { renderEdgeCluster, renderMasterListeners, renderTunnelCluster } from "./envoy/master.ts";
import { renderTenant } from "./envoy/render.ts";
import { renderFallback, renderFront } from "./envoy/render-front.ts";
import type { RenderedTenant } from "./envoy/resources.ts";
import { renderBootstrap, renderListeners, type EnvoyPaths, type EnvoyPorts } from "./envoy/static.ts";
import type { LinkFiles } from "./link-certificate.ts";
import type { Render } from "./tenants/services.ts";

/** What tells a master's agent from a node's. */
export interface Role {
  readonly isMaster: boolean;
  /** Of the connections between masters and nodes; null: there are none. */
  readonly link: LinkFiles | null;
  /** `xdsSocket`: where the agent serves the Envoy that gets it. */
  bootstrap(node: string, xdsSocket: string): Json;
  listeners(): Json;
  readonly render: Render;
  /** What Envoy has beside tenants; null: nothing. */
  readonly always: RenderedTenant | null;
}

export function roleOf(config: AgentConfig, paths: EnvoyPaths): Role {
  const ports = portsOf(config);
  const { master } = config;
  if (master === null) {
    const { masters } = config.envoy;
    return {
      isMaster: false,
      link: masters,
      bootstrap: (node, xdsSocket) => renderBootstrap(node, ports, { ...paths, xdsSocket }),
      listeners: () => renderListeners(ports, paths),
      render: (tenant, endpoints) => renderTenant(tenant, endpoints, masters !== null),
      always: null,
    };
  }
  const { protocol, hostname, port } = new URL(master.edge);
  const scheme = protocol === "https:" ? "https" : "http";
  const edge = renderEdgeCluster({
    scheme,
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? (scheme === "https" ? 443 : 80) : Number(port),
    caFile: master.edgeCaFile,
  });
  return {
    isMaster: true,
    link: master.link,
    bootstrap: (node, xdsSocket) =>
      renderBootstrap(node, ports, { ...paths, xdsSocket }, [edge, renderTunnelCluster(paths)]),
    listeners: () => renderMasterListeners(ports, paths),
    render: (tenant) =>
      tenant.front === undefined ? { clusters: [], scopes: [] } : renderFront(tenant, tenant.front, paths.secretsDir),
    always: renderFallback(),
  };
}

export const portsOf = ({ envoy }: AgentConfig): EnvoyPorts => ({ ...envoy, tls: envoy.tls !== null });
