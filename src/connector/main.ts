import type { Logger } from "../shared/log.ts";
import type { ConnectorConfig } from "./config.ts";
import { startConnector, type ConnectorExit } from "./connector.ts";
import { startHealthServer } from "./health.ts";
import { SECOND_SIGNAL_AFTER_MS } from "./limits.ts";

export { loadConfig, withEnvironment, type ConnectorConfig } from "./config.ts";
export { startConnector, type Connector } from "./connector.ts";

export type RunExit =
  | ConnectorExit
  /** The health port can't be used. */
  | { readonly kind: "environment"; readonly text: string }
  /** A second signal while draining. */
  | { readonly kind: "interrupted"; readonly signal: NodeJS.Signals };

export interface RunPorts {
  readonly log: Logger;
  /** Calls back for each SIGTERM and SIGINT; answers how to stop listening. */
  readonly onSignal: (listener: (signal: NodeJS.Signals) => void) => () => void;
  readonly now: () => number;
}

/** Runs one connector as a process does: with its health port, and until a signal drains it. The caller maps the exit to a code. */
export async function runConnector(config: ConnectorConfig, ports: RunPorts): Promise<RunExit> {
  const { log, now } = ports;
  const connector = startConnector(config, { log, now, random: Math.random });
  const health = config.healthPort === null ? null : await startHealthServer(config.healthPort, connector);
  if (health?.ok === false) {
    connector.stop();
    return { kind: "environment", text: health.error };
  }
  log.info("connector started", {
    relay: config.relayUrl.origin,
    tenant: config.tenant,
    connector: config.connector,
    instance: config.instanceId,
    targets: config.targets.map(({ name }) => name).join(","),
    healthPort: health?.value.port ?? null,
  });

  let interrupted: RunExit | null = null;
  let firstMs: number | null = null;
  const stopListening = ports.onSignal((signal) => {
    if (firstMs === null) {
      firstMs = now();
      connector.drain(signal);
    } else if (now() - firstMs >= SECOND_SIGNAL_AFTER_MS) {
      interrupted = { kind: "interrupted", signal };
      connector.stop();
    }
  });
  const exit = await connector.done;
  stopListening();
  health?.value.close();
  log.info("connector ended", { how: exit.kind });
  return interrupted ?? exit;
}
