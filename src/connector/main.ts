import type { Logger } from "../shared/log.ts";
import type { Result } from "../shared/result.ts";
import { processTracer } from "../shared/tracing/process-tracer.node.ts";
import type { TraceEnv } from "../shared/tracing/settings.ts";
import type { ConnectorConfig, LoadedConfig } from "./config.ts";
import { startConnector, type Connector, type ConnectorExit, type ConnectorPorts } from "./connector.ts";
import { startHealthServer } from "./health.ts";
import { SECOND_SIGNAL_AFTER_MS } from "./limits.ts";
import { publicAddresses } from "./public-addresses.ts";

export {
  loadConfig,
  parseRelayUrl,
  parseTargets,
  readCa,
  withDefaults,
  withEnvironment,
  type ConnectorConfig,
  type ConnectorInput,
} from "./config.ts";
export { readConfigFile } from "./config-file.ts";
export { diagnose, type DoctorOptions, type Finding } from "./doctor.ts";
export { CONFIG_POLL_MS } from "./limits.ts";
export type { AuditLevel } from "./audit.ts";
export { SOFTWARE, startConnector, type Connector } from "./connector.ts";
export { ensureKey, fingerprintOf, pair } from "./pairing.ts";

export type RunExit =
  | ConnectorExit
  /** The health port can't be used. */
  | { readonly kind: "environment"; readonly text: string }
  /** A second signal while draining. */
  | { readonly kind: "interrupted"; readonly signal: NodeJS.Signals };

export interface RunPorts {
  readonly log: Logger;
  readonly audit: ConnectorPorts["audit"];
  /** Calls back for each SIGTERM and SIGINT; answers how to stop listening. */
  readonly onSignal: (listener: (signal: NodeJS.Signals) => void) => () => void;
  readonly now: () => number;
  /** Where the OTEL_* variables are looked up (docs/operations.md). */
  readonly env: TraceEnv;
  /** For a configuration that may change: calls back when it should be looked at again, and reads it. */
  readonly reload?: {
    readonly onAsked: (listener: (why: string) => void) => () => void;
    readonly load: () => Result<LoadedConfig, string>;
  };
}

/** Runs one connector as a process does: with its health port, and until a signal drains it. The caller maps the exit to a code. */
export async function runConnector(config: ConnectorConfig, ports: RunPorts): Promise<RunExit> {
  const { log, now } = ports;
  const monotonic = (): number => performance.now();
  const about = { part: "connector", service: "causeway-connector", instance: config.instanceId };
  const tracer = processTracer(ports.env, about, log);
  const { audit } = ports;
  const connector = startConnector(config, { log, now, monotonic, random: Math.random, audit, tracer });
  const health = config.healthPort === null ? null : await startHealthServer(config.healthPort, connector);
  if (health?.ok === false) {
    connector.stop();
    return { kind: "environment", text: health.error };
  }
  const names = config.targets.map(({ name }) => name);
  log.info("connector started", {
    relay: config.relayUrl.origin,
    tenant: config.tenant,
    connector: config.connector,
    credential: config.credential.kind,
    instance: config.instanceId,
    targets: names.join(","),
    healthPort: health?.value.port ?? null,
  });
  const addresses = publicAddresses(config.relayUrl, config.tenant, names);
  if (Object.keys(addresses).length > 0) log.info("with a link up, visitors find the targets at", addresses);
  if (names.length === 0)
    log.info("no target is named here (--target NAME=URL): only those are served that a member of the tenant pushes");

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
  const stopReloading = ports.reload?.onAsked((why) => {
    const loaded = ports.reload?.load();
    if (loaded !== undefined) applyReload(connector, loaded, why, log);
  });
  const exit = await connector.done;
  stopListening();
  stopReloading?.();
  health?.value.close();
  await tracer?.shutdown();
  log.info("connector ended", { how: exit.kind });
  return interrupted ?? exit;
}

function applyReload(connector: Connector, loaded: Result<LoadedConfig, string>, why: string, log: Logger): void {
  if (!loaded.ok)
    return log.error("the new configuration is not valid; the old one stays", { why, reason: loaded.error });
  for (const warning of loaded.value.warnings) log.warn(warning);
  const { added, changed, removed, key, needRestart } = connector.reconfigure(loaded.value.config);
  log.info("configuration applied", {
    why,
    added: added.join(","),
    changed: changed.join(","),
    removed: removed.join(","),
    newKey: key,
  });
  if (needRestart.length > 0)
    log.warn("these settings changed and need a restart", { settings: needRestart.join(",") });
}
