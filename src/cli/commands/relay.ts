import { existsSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { defineCommand } from "citty";
import { parseSlug } from "../../policy/names.ts";
import { canonicalHost } from "../../policy/host.ts";
import { freshRelay, readRelayConfig, runRelay, type RunFailure } from "../../relay/main.ts";
import { CliError, EXIT, type ExitCode } from "../frame/exit.ts";
import { logToStderr } from "../frame/readable-log.ts";
import { listenToSignals } from "../frame/signals.ts";
import { writeFileAtomic } from "../local/files.ts";

const RELAY_YAML = "relay.yaml";

/** `causeway relay init`: a configuration and a connector's credentials, so that two commands make a tunnel. */
function init(args: { "base-domain": string; tenant: string; connector: string; port: string; dir: string }): void {
  const baseDomain = canonicalHost(args["base-domain"]);
  if (baseDomain === null || args["base-domain"].includes(":"))
    throw new CliError(EXIT.usage, `"${args["base-domain"]}" is not a domain`);
  if (!parseSlug(args.tenant).ok)
    throw new CliError(EXIT.usage, `"${args.tenant}" can't be a tenant's name`, "3 to 40 of a-z, 0-9 and hyphens.");
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(args.connector))
    throw new CliError(EXIT.usage, `"${args.connector}" can't be a connector's name`);
  const port = Number(args.port);
  if (!Number.isInteger(port) || port < 1 || port > 65_534)
    throw new CliError(EXIT.usage, "the port is a number from 1 to 65534");
  const config = join(resolve(args.dir), RELAY_YAML);
  const credentials = join(dirname(config), `${args.tenant}-${args.connector}.credentials.json`);
  for (const file of [config, credentials]) {
    if (existsSync(file))
      throw new CliError(
        EXIT.refused,
        `${file} is there already`,
        "Nothing was changed. Move it away, or name another folder with --dir.",
      );
  }
  const fresh = freshRelay({ baseDomain, tenant: args.tenant, connector: args.connector, port });
  try {
    mkdirSync(dirname(config), { recursive: true });
    writeFileAtomic(config, fresh.relayYaml, 0o644);
    writeFileAtomic(credentials, fresh.credentialsJson);
  } catch (error) {
    throw new CliError(EXIT.environment, `${dirname(config)} can't be written to (${codeOf(error)})`);
  }
  process.stdout.write(`${config}\n${credentials}\n`);
  const talk = [
    "The second file holds a private key: keep it as a password, and out of version control.",
    `Start the relay:     npx causeway relay --config ${config}`,
    `Start the connector: npx causeway connect --credentials ${credentials} --target web=http://127.0.0.1:3000`,
    `Then open:           ${fresh.visitorsUrl}`,
  ];
  if (fresh.visitorsUrl.startsWith("https:"))
    talk.unshift(
      `${baseDomain} needs a DNS entry and a certificate for *.${baseDomain}; the first file says where TLS ends.`,
    );
  process.stderr.write(`${talk.join("\n")}\n`);
}

const codeOf = (error: unknown): string => (error instanceof Error && "code" in error ? String(error.code) : "unknown");

/** `causeway relay`: the relay alone, on Node. Its log is on stderr: JSON lines, on a terminal readable ones. */
export default defineCommand({
  meta: {
    name: "relay",
    description: "Run the relay of tenants and connectors on this machine, from a configuration file",
  },
  args: {
    action: {
      type: "positional",
      required: false,
      description: "init: write a first relay.yaml and a connector's credentials file",
    },
    config: {
      type: "string",
      description: "YAML file (docs/relay.md). Read again when it changes, or on SIGHUP",
      valueHint: "FILE",
    },
    lane: { type: "enum", options: ["a", "b", "both"], default: "both", description: "Which lane this process is" },
    check: { type: "boolean", default: false, description: "Only say whether the file is right" },
    "base-domain": {
      type: "string",
      default: "causeway.localhost",
      description: "init: tenants are at TENANT.DOMAIN",
      valueHint: "DOMAIN",
    },
    tenant: { type: "string", default: "acme", description: "init: the first tenant", valueHint: "NAME" },
    connector: { type: "string", default: "site-1", description: "init: its connector", valueHint: "NAME" },
    port: {
      type: "string",
      default: "8080",
      description: "init: where the relay listens on this machine",
      valueHint: "PORT",
    },
    dir: { type: "string", default: ".", description: "init: folder to write to", valueHint: "DIR" },
  },
  async run({ args }) {
    if (args.action === "init") return init(args);
    if (args.action !== undefined)
      throw new CliError(EXIT.usage, `"${args.action}" is not known`, "There is: causeway relay init");
    const configFile = args.config ?? process.env["CAUSEWAY_RELAY_CONFIG"];
    if (configFile === undefined)
      throw new CliError(
        EXIT.usage,
        "which configuration?",
        "Give --config relay.yaml; causeway relay init writes a first one.",
      );
    const lane = args.lane === "a" || args.lane === "b" ? args.lane : "both";
    if (args.check) return check(configFile, lane);
    const ended = await runRelay({
      configFile,
      lane,
      write: logToStderr,
      now: Date.now,
      monotonic: () => performance.now(),
      random: Math.random,
      env: process.env,
      onSignal: (listener) => listenToSignals(["SIGTERM", "SIGINT"], listener),
      onReload: (listener) => listenToSignals(["SIGHUP"], listener),
    });
    if (!ended.ok) throw new CliError(EXITS[ended.error.kind], ended.error.message);
  },
});

function check(configFile: string, lane: "a" | "b" | "both"): void {
  const read = readRelayConfig(configFile, { lane, revision: 0 });
  if (!read.ok) throw new CliError(EXIT.usage, `${configFile}: ${read.error}`);
  for (const one of lane === "both" ? (["a", "b"] as const) : []) {
    const alone = readRelayConfig(configFile, { lane: one, revision: 0 });
    if (!alone.ok) throw new CliError(EXIT.usage, `${configFile}: with --lane ${one}: ${alone.error}`);
  }
  const { length } = read.value.tenants;
  process.stdout.write(`${configFile} is right: ${length} ${length === 1 ? "tenant" : "tenants"}\n`);
}

const EXITS: Record<RunFailure["kind"], ExitCode> = {
  configuration: EXIT.usage,
  environment: EXIT.environment,
  broken: EXIT.failed,
  interrupted: EXIT.failed,
};
