import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineCommand } from "citty";
import {
  confirmHeld,
  enrolNode,
  exportNode,
  readAgentConfig,
  readHeldTenants,
  startNodeAgent,
  upgradeEnvoy,
} from "../../node-agent/main.ts";
import { createLogger } from "../../shared/log.ts";
import { CliError, EXIT } from "../frame/exit.ts";
import { createOutput } from "../frame/output.ts";

const enroll = defineCommand({
  meta: { name: "enroll", description: "Give this machine a node's identity with a one-time token" },
  args: {
    url: { type: "string", required: true, description: "The relay, for example https://relay.example.com" },
    "token-file": {
      type: "string",
      required: true,
      description: "File that holds the token (or - for standard input)",
    },
    out: {
      type: "string",
      default: "node.json",
      description: "Where to save the node's id and private key (mode 0600)",
    },
    json: { type: "boolean", default: false, description: "Print one JSON object" },
  },
  async run({ args }) {
    const relayUrl = parseRelayUrl(args.url);
    const token = readToken(args["token-file"]);
    const out = resolve(args.out);
    const enrolled = await enrolNode(relayUrl, token, out);
    if (!enrolled.ok) {
      const code = enrolled.error.kind === "refused" ? EXIT.authentication : EXIT.environment;
      throw new CliError(code, enrolled.error.message);
    }
    const { nodeId, node } = enrolled.value;
    createOutput(args.json).data(
      { nodeId, node, credentialsFile: out },
      `Enrolled as ${node} (${nodeId}). Its key is in ${out}.`,
    );
  },
});

const run = defineCommand({
  meta: {
    name: "run",
    description: "Run the node agent: Envoy's configuration and the tenants' services of this machine",
  },
  args: {
    config: { type: "string", required: true, description: "Configuration file (docs/node.md)" },
  },
  async run({ args }) {
    const config = readAgentConfig(resolve(args.config));
    if (!config.ok) throw new CliError(EXIT.usage, config.error);
    const log = createLogger("node-agent", (line) => process.stdout.write(`${line}\n`));
    const agent = await startNodeAgent(config.value, log);
    if (!agent.ok) {
      throw new CliError(agent.error.kind === "locked" ? EXIT.environment : EXIT.usage, agent.error.message);
    }
    const signal = await new Promise<string>((done) => {
      for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => done(name));
    });
    log.info("node agent stops", { signal });
    await agent.value.stop();
  },
});

const removals = defineCommand({
  meta: { name: "removals", description: "Show or confirm removals of tenants that were too many at once" },
  args: {
    config: { type: "string", required: true, description: "Configuration file of the agent" },
    confirm: { type: "boolean", default: false, description: "Let the agent remove all that it holds now" },
    json: { type: "boolean", default: false, description: "Print one JSON object" },
  },
  async run({ args }) {
    const config = readAgentConfig(resolve(args.config));
    if (!config.ok) throw new CliError(EXIT.usage, config.error);
    const { stateDir } = config.value;
    const held = await readHeldTenants(stateDir);
    if (args.confirm) await confirmHeld(stateDir);
    const list = held.map(({ tenantId, slug }) => `${slug} (${tenantId})`);
    const said = args.confirm ? "The agent removes within a second:" : "Held until `--confirm`:";
    createOutput(args.json).data(
      { held, confirmed: args.confirm && held.length > 0 },
      held.length === 0 ? "Nothing is held." : [said, ...list].join("\n"),
    );
  },
});

const upgrade = defineCommand({
  meta: {
    name: "upgrade-envoy",
    description: "Replace the running Envoy by the program that the configuration names, without refusing a connection",
  },
  args: {
    config: { type: "string", required: true, description: "Configuration file of the agent" },
    json: { type: "boolean", default: false, description: "Print one JSON object" },
  },
  async run({ args }) {
    const config = readAgentConfig(resolve(args.config));
    if (!config.ok) throw new CliError(EXIT.usage, config.error);
    const upgraded = await upgradeEnvoy(config.value);
    if (!upgraded.ok) throw new CliError(EXIT.failed, `Envoy was not replaced: ${upgraded.error}.`);
    const { pid, version, drainSeconds } = upgraded.value;
    createOutput(args.json).data(
      upgraded.value,
      `Envoy ${version} (pid ${pid}) serves. The one before finishes open requests for up to ${drainSeconds} s.`,
    );
  },
});

const exportCommand = defineCommand({
  meta: {
    name: "export",
    description: "Write all that Envoy serves as one static file, for an Envoy without an agent",
  },
  args: {
    config: { type: "string", required: true, description: "Configuration file of the agent" },
    out: { type: "string", default: "-", description: "Where to write it (- for standard output)" },
    json: {
      type: "boolean",
      default: false,
      description: "Print one JSON object about the file, where --out names one",
    },
  },
  async run({ args }) {
    const config = readAgentConfig(resolve(args.config));
    if (!config.ok) throw new CliError(EXIT.usage, config.error);
    const exported = await exportNode(config.value);
    if (!exported.ok) throw new CliError(EXIT.environment, exported.error);
    const { envoy, tenants } = exported.value;
    const text = `${JSON.stringify(envoy, null, 2)}\n`;
    if (args.out === "-") {
      process.stdout.write(text);
      return;
    }
    const file = resolve(args.out);
    writeFileSync(file, text, { mode: 0o600 });
    createOutput(args.json).data({ file, tenants }, `${file} has ${tenants} tenants. Run it: envoy -c ${file}`);
  },
});

/** `causeway node enroll|run|removals|upgrade-envoy|export`. */
export const nodeCommand = defineCommand({
  meta: { name: "node", description: "The agent that runs beside Envoy on a node" },
  subCommands: { enroll, run, removals, "upgrade-envoy": upgrade, export: exportCommand },
});

function parseRelayUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new CliError(EXIT.usage, `--url ${text} is not an http or https address`);
  }
  return url.origin;
}

function readToken(file: string): string {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8").trim();
  } catch (error) {
    throw new CliError(
      EXIT.usage,
      `--token-file can't be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (!/^[^.\s]+\.[^\s]+$/.test(text)) throw new CliError(EXIT.usage, "--token-file does not hold an enrolment token");
  return text;
}
