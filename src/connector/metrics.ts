import type { Connector } from "./connector.ts";

export interface ProcessUsage {
  readonly residentBytes: number;
  readonly cpuSeconds: number;
  /** Since the process started. */
  readonly uptimeSeconds: number;
}

export type MeasuredConnector = Pick<
  Connector,
  | "ready"
  | "links"
  | "targets"
  | "unhealthy"
  | "reloads"
  | "pushedRevision"
  | "tokenExpiresAtMs"
  | "spans"
  | "receiveBudget"
>;

/** Prometheus text format 0.0.4. Names of targets are all that it tells of a site. */
export function metricsText(connector: MeasuredConnector, usage: ProcessUsage): string {
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
    "causeway_connector_link_ups_total",
    "counter",
    "Sockets that the relay greeted; the first is no reconnect.",
    links.map(({ lane, ups }) => [{ lane }, ups]),
  );
  metric(
    "causeway_connector_link_streams_open",
    "gauge",
    "Requests and WebSockets under way on the lane.",
    links.map(({ lane, openStreams }) => [{ lane }, openStreams]),
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
  const unhealthy = new Set(connector.unhealthy);
  metric(
    "causeway_connector_target_healthy",
    "gauge",
    "0 while the target's health check fails.",
    targets.map(({ target }) => [{ target }, Number(!unhealthy.has(target))]),
  );
  const { committedBytes, totalBytes } = connector.receiveBudget;
  metric("causeway_connector_receive_window_bytes", "gauge", "Credit that relays hold over all lanes.", [
    [{}, committedBytes],
  ]);
  metric("causeway_connector_receive_budget_bytes", "gauge", "Above this, windows shrink.", [[{}, totalBytes]]);
  const { pushedRevision, tokenExpiresAtMs } = connector;
  metric(
    "causeway_connector_pushed_revision",
    "gauge",
    "Revision of the pushed configuration in force.",
    pushedRevision === null ? [] : [[{}, pushedRevision]],
  );
  metric(
    "causeway_connector_token_expires_seconds",
    "gauge",
    "When the access token runs out, as a Unix time.",
    tokenExpiresAtMs === null ? [] : [[{}, Math.round(tokenExpiresAtMs / 1000)]],
  );
  metric(
    "causeway_trace_spans_total",
    "counter",
    "Spans of traces, by what became of them: exported, dropped (the queue was full) or failed (not taken).",
    Object.entries(connector.spans ?? {}).map(([outcome, value]) => [{ outcome }, value]),
  );
  metric("causeway_connector_reloads_total", "counter", "Configuration changes that were applied.", [
    [{}, connector.reloads],
  ]);
  metric("process_resident_memory_bytes", "gauge", "Resident memory.", [[{}, usage.residentBytes]]);
  metric("process_cpu_seconds_total", "counter", "CPU time used.", [[{}, usage.cpuSeconds]]);
  metric("causeway_connector_uptime_seconds", "gauge", "Since the process started.", [[{}, usage.uptimeSeconds]]);
  return `${lines.join("\n")}\n`;
}
