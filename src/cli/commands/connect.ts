import { parseArgs } from "node:util";
import { defineCommand } from "citty";
import { loadConfig, runConnector, withEnvironment, type RunExit } from "../../connector/main.ts";
import { createLogger, type LogLevel } from "../../shared/log.ts";
import { CliError, EXIT } from "../frame/exit.ts";

/** `causeway connect`: runs a connector in the foreground. Its log, JSON lines, is on stderr. */
export default defineCommand({
  meta: { name: "connect", description: "Connect this site's targets to the platform, by outgoing connections only" },
  args: {
    credentials: { type: "string", description: "File from `causeway connector create`", valueHint: "FILE" },
    target: {
      type: "string",
      description: "NAME=URL of a target, or echo, ping; repeat it for more. URL#timeout=SECONDS limits its answers",
      valueHint: "NAME=URL",
    },
    url: { type: "string", description: "Address of the relay (default: the one in the credentials file)" },
    tenant: { type: "string", description: "Tenant, slug or slug@cluster (default: from the credentials file)" },
    connector: { type: "string", description: "Name of the connector (default: from the credentials file)" },
    instance: {
      type: "string",
      description:
        "Id of this process; each one needs its own (default: made once and kept beside the credentials file)",
    },
    lanes: { type: "string", description: "a, b or both (default: both)" },
    ca: { type: "string", description: "PEM file of certificates to trust as well, for the relay and https targets" },
    "health-port": { type: "string", description: "Serve /healthz and /readyz on this loopback port (default: none)" },
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
    const loaded = loadConfig(input, process.env);
    if (!loaded.ok) throw new CliError(EXIT.usage, loaded.error);
    const log = createLogger("connector", (line) => process.stderr.write(`${line}\n`), {
      level: levelOf(args["log-level"]),
    });
    for (const warning of loaded.value.warnings) log.warn(warning);
    report(await runConnector(loaded.value.config, { log, now: Date.now, onSignal }));
  },
});

const levelOf = (text: string): LogLevel => (text === "debug" || text === "warn" || text === "error" ? text : "info");

/** citty keeps the last of a repeated flag only. */
function repeated(rawArgs: readonly string[], name: string): string[] {
  const { values } = parseArgs({
    args: [...rawArgs],
    options: { [name]: { type: "string", multiple: true } },
    strict: false,
  });
  const found = values[name];
  return Array.isArray(found) ? found.filter((value) => typeof value === "string") : [];
}

function onSignal(listener: (signal: NodeJS.Signals) => void): () => void {
  const signals = ["SIGTERM", "SIGINT"] as const;
  for (const signal of signals) process.on(signal, listener);
  return () => {
    for (const signal of signals) process.off(signal, listener);
  };
}

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
