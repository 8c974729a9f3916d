import type { Connector } from "./connector.ts";

export interface ProcessUsage {
  readonly residentBytes: number;
  readonly cpuSeconds: number;
  /** Since the process started. */
  readonly uptimeSeconds: number;
}

/** Prometheus text format 0.0.4. Names of targets are all that it tells of a site. */
export function metricsText(
  connector: Pick<Connector, "ready" | "links" | "targets" | "reloads">,
  usage: ProcessUsage,
): string {
  const lines: string[] = [];
  const metric = (
    name: string,
    type: "gauge" | "counter",
    help: string,
    samples: readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[],
  ): void => {
    if (samples.length === 0) return;
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of samples) {
      const text = Object.entries(labels).map(([label, word]) => `${label}="${word.replace(/["\\\n]/g, "")}"`);
      lines.push(`${name}${text.length === 0 ? "" : `{${text.join(",")}}`} ${value}`);
    }
  };
  const links = connector.links();
  const targets = connector.targets();
  const perTarget = (outcome: "finished" | "reset") =>
    targets.map((count) => [{ target: count.target, outcome }, count[outcome]] as const);
  metric("causeway_connector_ready", "gauge", "1 while at least one lane can bring requests.", [
    [{}, Number(connector.ready)],
  ]);
  metric(
    "causeway_connector_link_up",
    "gauge",
    "1 while the lane can bring requests.",
    links.map(({ lane, state }) => [{ lane }, Number(state === "ready")]),
  );
  metric(
    "causeway_connector_link_losses_total",
    "counter",
    "Dials that failed and sockets that were lost.",
    links.map(({ lane, losses }) => [{ lane }, losses]),
  );
  metric(
    "causeway_connector_link_rtt_seconds",
    "gauge",
    "Last measured round trip through the lane.",
    links.flatMap(({ lane, rttMs }) => (rttMs === null ? [] : [[{ lane }, rttMs / 1000] as const])),
  );
  metric(
    "causeway_connector_requests_open",
    "gauge",
    "Requests and WebSockets under way.",
    targets.map(({ target, open }) => [{ target }, open]),
  );
  metric("causeway_connector_requests_total", "counter", "Requests and WebSockets that ended, by how.", [
    ...perTarget("finished"),
    ...perTarget("reset"),
  ]);
  metric("causeway_connector_reloads_total", "counter", "Configuration changes that were applied.", [
    [{}, connector.reloads],
  ]);
  metric("process_resident_memory_bytes", "gauge", "Resident memory.", [[{}, usage.residentBytes]]);
  metric("process_cpu_seconds_total", "counter", "CPU time used.", [[{}, usage.cpuSeconds]]);
  metric("causeway_connector_uptime_seconds", "gauge", "Since the process started.", [[{}, usage.uptimeSeconds]]);
  return `${lines.join("\n")}\n`;
}
