import { unwatchFile, watchFile } from "node:fs";
import { defineCommand } from "citty";
import {
  CONFIG_POLL_MS,
  ensureKey,
  fingerprintOf,
  loadConfig,
  pair,
  parseRelayUrl,
  readCa,
  readConfigFile,
  runConnector,
  SOFTWARE,
  withDefaults,
  withEnvironment,
  type AuditLevel,
  type ConnectorInput,
  type RunExit,
} from "../../connector/main.ts";
import { createLogger, type Logger, type LogLevel } from "../../shared/log.ts";
import type { Result } from "../../shared/result.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { logToStderr } from "../frame/readable-log.ts";
import { repeated } from "../frame/repeated.ts";
import { listenToSignals } from "../frame/signals.ts";
import { credentialArgs, credentialInput } from "./connector-credentials.ts";

/** `causeway connect`: runs a connector in the foreground. Its log is on stderr: JSON lines, on a terminal readable ones. */
export default defineCommand({
  meta: { name: "connect", description: "Connect this site's targets to the platform, by outgoing connections only" },
  args: {
    config: {
      type: "string",
      description: "YAML file of the same settings; flags and CAUSEWAY_* win. Read again when it changes, or on SIGHUP",
      valueHint: "FILE",
    },
    credentials: { type: "string", description: "File from `causeway connector create`", valueHint: "FILE" },
    target: {
      type: "string",
      description:
        "NAME=URL of a target, as web=http://127.0.0.1:3000, or ping or echo to try the way; repeat it for more. URL#SETTING=VALUE: docs/connector.md",
      valueHint: "NAME=URL",
    },
    url: { type: "string", description: "Address of the relay (default: the one in the credentials file)" },
    tenant: { type: "string", description: "Tenant, slug or slug@cluster (default: from the credentials file)" },
    connector: {
      type: "string",
      description: "Name of the connector (default: from the credentials file; a secret can do without)",
    },
    ...credentialArgs,
    pair: {
      type: "boolean",
      default: false,
      description: "Make a key, keep it in the --credentials file, ask to be let in, and wait for a member's yes",
    },
    "state-dir": {
      type: "string",
      description: "Folder for the instance id and pushed configuration (default: beside the credentials)",
      valueHint: "DIR",
    },
    "pushed-targets": {
      type: "boolean",
      default: true,
      description: "Serve targets that the control plane pushes as well",
      negativeDescription: "Refuse targets that the control plane pushes: only those named here are served",
    },
    instance: {
      type: "string",
      description:
        "Id of this process; each one needs its own (default: made once and kept beside the credentials file)",
    },
    lanes: { type: "string", description: "a, b or both (default: both)" },
    ca: { type: "string", description: "PEM file of certificates to trust as well, for the relay and https targets" },
    "health-port": {
      type: "string",
      description: "Serve /healthz, /readyz and /metrics on this loopback port (default: none)",
    },
    "drain-timeout": {
      type: "string",
      description: "Seconds that open requests may take after a signal (default: 25)",
    },
    "reconnect-max": { type: "string", description: "Longest pause between two dials in seconds (default: 8)" },
    "allow-plain-http": {
      type: "boolean",
      default: false,
      description: "Allow an http relay on another machine (closed test networks only)",
    },
    audit: {
      type: "enum",
      options: ["all", "errors", "none"],
      default: "all",
      description: "Which requests get a line in the log",
    },
    "log-level": {
      type: "enum",
      options: ["debug", "info", "warn", "error"],
      default: "info",
      description: "Least level",
    },
  },
  async run({ args, rawArgs }) {
    const input = withEnvironment(
      {
        credentials: args.credentials,
        url: args.url,
        tenant: args.tenant,
        connector: args.connector,
        ...credentialInput(args),
        stateDir: args["state-dir"],
        pushedTargets: args["pushed-targets"] ? undefined : false,
        targets: repeated(rawArgs, "target"),
        instance: args.instance,
        lanes: args.lanes,
        ca: args.ca,
        healthPort: args["health-port"],
        drainTimeout: args["drain-timeout"],
        reconnectMax: args["reconnect-max"],
        allowPlainHttp: args["allow-plain-http"],
      },
      process.env,
    );
    const file = args.config ?? process.env["CAUSEWAY_CONFIG"];
    const log = createLogger("connector", (line) => logToStderr(`${line}\n`), {
      level: levelOf(args["log-level"]),
    });
    if (args.pair) await pairFirst(file === undefined ? input : withDefaults(input, value(readConfigFile(file))), log);
    const load = (): ReturnType<typeof loadConfig> => {
      const settings = file === undefined ? null : readConfigFile(file);
      if (settings?.ok === false) return settings;
      return loadConfig(settings === null ? input : withDefaults(input, settings.value), process.env);
    };
    const loaded = load();
    if (!loaded.ok) throw new CliError(EXIT.usage, loaded.error);
    for (const warning of loaded.value.warnings) log.warn(warning);
    const reload = file === undefined ? {} : { reload: { load, onAsked: onChange(file) } };
    const audit = { level: auditOf(args.audit), write: (lines: string) => logToStderr(`${lines}\n`) };
    report(
      await runConnector(loaded.value.config, { log, audit, now: Date.now, env: process.env, onSignal, ...reload }),
    );
  },
});

/** `--pair`: comes back when the relay takes the key. */
async function pairFirst(input: ConnectorInput, log: Logger): Promise<void> {
  const { credentials: file, connector, tenant, url } = input;
  if (file === undefined || connector === undefined || tenant === undefined || url === undefined) {
    throw new CliError(EXIT.usage, "to pair, say --url URL, --tenant SLUG, --connector NAME and --credentials FILE");
  }
  const relayUrl = value(parseRelayUrl(url, input.allowPlainHttp));
  const ca = input.ca === undefined ? null : value(readCa(input.ca));
  const identity = { relayUrl, tenant, connector, file };
  const key = await ensureKey(identity);
  if (!key.ok) throw new CliError(EXIT.usage, key.error);
  log.info("pairing", { tenant, connector, relay: relayUrl.origin, fingerprint: await fingerprintOf(key.value) });
  const stop = new AbortController();
  const stopListening = onSignal(() => stop.abort());
  const way = { ca, proxyEnv: process.env, software: SOFTWARE };
  const ports = { way, log, now: Date.now, random: Math.random, signal: stop.signal };
  const end = await pair(identity, key.value, ports);
  stopListening();
  if (end.kind === "refused") {
    throw new CliError(
      EXIT.authentication,
      end.text,
      "Ask a member to open the tenant's pairing window, then start again.",
    );
  }
  if (end.kind === "aborted")
    throw new CliError(EXIT.interrupted, "stopped before a member has accepted this connector");
  log.info("accepted", { tenant, connector });
}

function value<T>(result: Result<T, string>): T {
  if (!result.ok) throw new CliError(EXIT.usage, result.error);
  return result.value;
}

const auditOf = (text: string): AuditLevel => (text === "errors" || text === "none" ? text : "all");

const levelOf = (text: string): LogLevel => (text === "debug" || text === "warn" || text === "error" ? text : "info");

/** On Windows nobody can send SIGTERM: the service's wrapper closes our standard input instead (src/cli/service/windows.ts). */
function onSignal(listener: (signal: NodeJS.Signals) => void): () => void {
  const ended = (): void => listener("SIGTERM");
  const stopListening = listenToSignals(["SIGTERM", "SIGINT"], listener);
  if (process.env["CAUSEWAY_STOP_ON_STDIN_END"] === "1") process.stdin.once("end", ended).resume();
  return () => {
    stopListening();
    process.stdin.off("end", ended).pause();
  };
}

/** Without a configuration file SIGHUP keeps its meaning: the terminal is gone. */
const onChange =
  (file: string) =>
  (listener: (why: string) => void): (() => void) => {
    const asked = (): void => listener("SIGHUP");
    const look = (now: { mtimeMs: number; ino: number }, before: { mtimeMs: number; ino: number }): void => {
      // While an editor replaces it, it may be away for a moment.
      if (now.ino !== 0 && (now.mtimeMs !== before.mtimeMs || now.ino !== before.ino)) listener("the file changed");
    };
    const stopListening = listenToSignals(["SIGHUP"], asked);
    watchFile(file, { interval: CONFIG_POLL_MS, persistent: false }, look);
    return () => {
      stopListening();
      unwatchFile(file, look);
    };
  };

function report(exit: RunExit): void {
  switch (exit.kind) {
    case "drained":
    case "stopped":
      return;
    case "auth":
      throw new CliError(
        EXIT.authentication,
        exit.text,
        "Check that the connector exists and is enabled, or make a new key: causeway connector create",
      );
    case "expired":
      throw new CliError(EXIT.authentication, exit.text, "The operator can give it more time.");
    case "replaced":
      throw new CliError(EXIT.failed, exit.text, "Give each process its own --instance.");
    case "version":
      throw new CliError(EXIT.failed, exit.text, "Update this connector.");
    case "environment":
      throw new CliError(EXIT.environment, exit.text);
    case "interrupted":
      throw new CliError(exit.signal === "SIGINT" ? EXIT.interrupted : EXIT.failed, "stopped while requests were open");
  }
}
