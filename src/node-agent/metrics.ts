import type { AgentStatus } from "./health.ts";

/** The agent's state in Prometheus' text format (version 0.0.4). `refused`: envoy/refused.ts; null leaves it out. */
export function renderMetrics(status: AgentStatus, refused: number | null): string {
  const lines: string[] = [];
  const metric = (
    name: string,
    type: "gauge" | "counter",
    help: string,
    samples: readonly [labels: string, value: number][],
  ) =>
    lines.push(
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...samples.map(([labels, value]) => `${name}${labels} ${value}`),
    );
  metric("causeway_node_ready", "gauge", "1 while Envoy has its configuration.", [["", status.ready ? 1 : 0]]);
  metric("causeway_node_channel_online", "gauge", "1 while the control plane can be heard.", [
    ["", status.channel === "online" ? 1 : 0],
  ]);
  metric(
    "causeway_node_tenants",
    "gauge",
    "Tenants by state.",
    Object.entries(status.tenants).map(([state, count]) => [`{state="${state}"}`, count]),
  );
  if (refused !== null) {
    const help = "Requests without a good proof of the edge, since Envoy's start.";
    metric("causeway_node_refused_requests_total", "counter", help, [["", refused]]);
  }
  return `${lines.join("\n")}\n`;
}
